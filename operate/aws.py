"""AWS's API: clients with timeouts, errors as sentences, and the outputs, the topic and the log of a stack.

Commands import this module when they need it: not all do, and boto3 takes a while.
"""

import contextlib
import os
import time

import boto3
from botocore import exceptions
from botocore.config import Config

from operate.terminal import Failure, say

CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})

# Longest time for reading a log, in seconds. CloudWatch reads about 10 MB per second.
READING_SECONDS = 300

# All errors that a call can raise, and those of the network.
ERRORS = exceptions.BotoCoreError, exceptions.ClientError
NETWORK = exceptions.ConnectionError, exceptions.HTTPClientError


def client(service, arn=None):
    """A client of `service` in the region of `arn`, or else in the one that boto3 finds, or else in AWS_REGION."""
    session = boto3.Session()
    region = arn.split(":")[3] if arn else session.region_name or os.environ.get("AWS_REGION")
    return session.client(service, region_name=region, config=CONFIG)


@contextlib.contextmanager
def sentences():
    """Turns the errors of AWS into sentences, for a block or as a decorator."""
    try:
        yield
    except ERRORS as error:
        raise Failure(sentence(error)) from None


def sentence(error):
    if isinstance(error, exceptions.NoRegionError):
        return "No AWS region is set: set AWS_DEFAULT_REGION, or a region in your AWS profile."
    if isinstance(error, NETWORK):
        return f"AWS cannot be reached: {error}"
    # The SDK's own texts name the missing credentials, or the operation and the permission.
    return f"AWS: {error}"


@sentences()
def read_stack(name):
    """The outputs of the stack of this name."""
    cloudformation = client("cloudformation")
    try:
        [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except exceptions.ClientError as error:
        if "does not exist" not in str(error):
            raise
        region = cloudformation.meta.region_name
        raise Failure(f"There is no stack {name} in {region}; AWS_DEFAULT_REGION sets another region.") from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    for output in ["WebhookUrl", "TopicArn", "LogGroupName"]:
        if output not in outputs:
            state = stack["StackStatus"]
            raise Failure(f"The stack {name} ({state}) has no output {output}: it is not a deployed pollo-webhook.")
    return outputs


def subscriptions(topic):
    """The topic's confirmed subscriptions: pairs of the endpoint's name and the ARN."""
    pages = client("sns", topic).get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    entries = [(entry["Endpoint"], entry["SubscriptionArn"]) for page in pages for entry in page["Subscriptions"]]
    # Other subscriptions have `PendingConfirmation` or `Deleted` instead of an ARN.
    return [(endpoint.rpartition(":")[2], arn) for endpoint, arn in entries if arn.startswith("arn:")]


def warn_of_no_subscription(topic):
    """Prints a warning if the topic has no confirmed subscription."""
    try:
        if not subscriptions(topic):
            say(
                f"Warning: {topic} has no confirmed subscription. SNS accepts messages, but nobody receives them: "
                "subscribe first."
            )
    except ERRORS as error:
        say(f"The topic's subscriptions cannot be listed. {sentence(error)}")


class Log:
    """The log group of a function."""

    @sentences()
    def __init__(self, group):
        self.group, self.client, self.unmask = group, client("logs"), True

    @sentences()
    def read(self, start, end, pattern=""):
        """The lines from `start` to `end` (Unix seconds) that match `pattern`: pairs of Unix milliseconds and text.

        Also returns None, or the time from which the log was not read: because there is too much of it, or because
        CloudWatch returned the token of a page twice. Reads what a data protection policy masks, if the credentials
        allow that.
        """
        if start >= end:
            return [], None
        request = {"logGroupName": self.group, "filterPattern": pattern, "unmask": self.unmask}
        request |= {"startTime": max(0, int(start * 1000)), "endTime": int(end * 1000)}
        lines, deadline = [], time.monotonic() + READING_SECONDS
        try:
            for page in self.client.get_paginator("filter_log_events").paginate(**request):
                lines += [(event["timestamp"], event["message"]) for event in page["events"]]
                if time.monotonic() > deadline:
                    break
            else:
                return lines, None
        except exceptions.PaginationError:
            pass
        except exceptions.ClientError as error:
            if not self.unmask or not error.response["Error"]["Code"].startswith("AccessDenied"):
                raise
            self.unmask = False
            read = self.read(start, end, pattern)
            say("The AWS credentials lack logs:Unmask: what a data protection policy masks in the log stays masked.")
            return read
        return lines, lines[-1][0] / 1000 if lines else start
