"""A temporary queue that receives the messages of a topic."""

import contextlib
import json
import re
import secrets
import threading
import time

from operate import aws
from operate.terminal import Failure
from operate.topic import client, subscriptions

# In seconds. Ten messages are handled before they become visible again. A queue of a killed listener is soon empty.
ATTRIBUTES = {"VisibilityTimeout": "300", "MessageRetentionPeriod": "900", "SqsManagedSseEnabled": "true"}

# A listener renews this tag. If the tag does not change, its listener is gone. This does not compare clocks.
HEARTBEAT, HEARTBEAT_SECONDS, DEAD_SECONDS = "heartbeat", 2, 10


@contextlib.contextmanager
def subscribed(stack, topic, filter_policy):
    """Subscribes a queue to the topic, and removes both after the block. Yields the iterator of the messages."""
    sns, sqs = client(topic), aws.client("sqs")
    # A queue's name has up to 80 characters.
    prefix = f"pollo-webhook-listen-{stack[:50]}-"
    remove_leftovers(sns, sqs, topic, prefix)
    name = f"{prefix}{secrets.token_hex(4)}"
    try:
        yield messages(sqs, subscribed_queue(sns, sqs, stack, topic, name, filter_policy))
    finally:
        try:
            remove(sns, sqs, topic, name)
        except aws.ERRORS as error:
            left = f"The queue {name} may still exist: the next `make listen` removes it."
            raise Failure(f"{aws.sentence(error)}\n{left}") from None


def subscribed_queue(sns, sqs, stack, topic, name, filter_policy):
    tags = {"pollo-webhook-stack": stack, HEARTBEAT: f"{time.time_ns()}"}
    url = sqs.create_queue(QueueName=name, Attributes=ATTRIBUTES, tags=tags)["QueueUrl"]
    threading.Thread(target=renew, args=[sqs, url], daemon=True).start()
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    only_the_topic = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [only_the_topic]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    attributes = {"RawMessageDelivery": "true"} | ({"FilterPolicy": filter_policy} if filter_policy else {})
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
    if not subscription["SubscriptionArn"].startswith("arn:"):
        raise Failure(f"{topic} does not confirm the subscription: listen with credentials of the topic's account.")
    return url


def renew(sqs, url):
    while True:
        time.sleep(HEARTBEAT_SECONDS)
        with contextlib.suppress(*aws.ERRORS):
            sqs.tag_queue(QueueUrl=url, Tags={HEARTBEAT: f"{time.time_ns()}"})


def messages(sqs, url):
    """Yields each message as SQS returns it, and deletes it before the next one."""
    names = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["SentTimestamp"]}
    while True:
        try:
            received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5, **names)
        except sqs.exceptions.QueueDoesNotExist:
            raise Failure(
                "The queue was deleted, by someone or by a listener that found no heartbeat of this one."
            ) from None
        for message in received.get("Messages", []):
            yield message
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def remove_leftovers(sns, sqs, topic, prefix):
    """Removes the queues and subscriptions of killed listeners, but not those of running ones."""
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix)
    names = {url.rpartition("/")[2] for page in pages for url in page.get("QueueUrls", [])}
    endpoints = {endpoint for endpoint, _ in subscriptions(sns, topic)}
    # The prefix also matches queues of a stack whose name begins with this one's.
    names = [name for name in names | endpoints if re.fullmatch(f"{re.escape(prefix)}[0-9a-f]{{8}}", name)]
    # SQS lists a queue for up to a minute after its deletion.
    silent = {name: last for name in names if (last := heartbeat(sqs, name)) is not None or name in endpoints}
    if silent:
        print(f"Found {', '.join(silent)}: checking for up to {DEAD_SECONDS} seconds whether a listener still runs")
    deadline = time.monotonic() + DEAD_SECONDS
    while silent and time.monotonic() < deadline:
        time.sleep(HEARTBEAT_SECONDS / 4)
        silent = {name: last for name, last in silent.items() if heartbeat(sqs, name) == last}
    for name in silent:
        remove(sns, sqs, topic, name)
        print(f"Removed {name}, which a killed listener has left.")


def heartbeat(sqs, name):
    """The last heartbeat of a queue, or None if there is no such queue."""
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        return sqs.list_queue_tags(QueueUrl=url).get("Tags", {}).get(HEARTBEAT, "")
    except sqs.exceptions.QueueDoesNotExist:
        return None


def remove(sns, sqs, topic, name):
    """Removes the subscription first, so that SNS never delivers to a deleted queue."""
    for endpoint, arn in subscriptions(sns, topic):
        if endpoint == name:
            sns.unsubscribe(SubscriptionArn=arn)
    with contextlib.suppress(sqs.exceptions.QueueDoesNotExist):
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
