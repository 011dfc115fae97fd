"""An emulator of AWS (ministack). It enforces policies and runs functions without Docker.

It does not support mail, X-Ray, raised alarms, metrics, encryption, moving messages back from a dead-letter queue, or
the reserved concurrency of a real account.
"""

import contextlib
import http.client
import json
import os
import ssl
import subprocess
import time
import urllib.request
from urllib.parse import urlsplit

import boto3

from local import emulators
from local.emulators import ADDRESS, CHECKOUT, PATIENCE, TOOLS

MINISTACK = CHECKOUT / ".tools" / "aws" / "bin" / "ministack"
SAM = TOOLS / "sam"
ACCOUNT = "123456789012"
REGION = "us-east-1"

# An unexpected message or line arrives within this time after the expected ones.
SETTLING_SECONDS = 0.5


def run(*words, **options):
    """Runs a command that must succeed. Returns its output."""
    ran = attempt(*words, **options)
    assert ran.returncode == 0, f"{words} exited with {ran.returncode}:\n{ran.stdout}"
    return ran.stdout


def attempt(*words, cwd=CHECKOUT, account="test", **variables):
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "AWS_ACCESS_KEY_ID": account, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def policy(statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def take(sqs, url, expected):
    """Takes `expected` messages and any further ones out of a queue. Returns pairs of body and attributes."""
    queue, messages, deadline = emulators.Queue(url, url, sqs), [], time.monotonic() + PATIENCE
    while len(messages) < expected and time.monotonic() < deadline:
        messages += queue.take()
    time.sleep(SETTLING_SECONDS)
    return messages + queue.take()


class Aws:
    def __init__(self, port, certificate, key, package):
        self.port, self.certificate, self.certificates = port, certificate, (certificate, key)
        self.package = package
        self.trust = ssl.create_default_context(cafile=certificate)
        self.cloudformation = boto3.client("cloudformation")
        self.cloudwatch = boto3.client("cloudwatch")
        self.functions = boto3.client("lambda")
        self.iam = boto3.client("iam")
        self.kms = boto3.client("kms")
        self.logs = boto3.client("logs")
        self.s3 = boto3.client("s3")
        self.secretsmanager = boto3.client("secretsmanager")
        self.sns = boto3.client("sns")
        self.sqs = boto3.client("sqs")

    def send(self, url, webhook):
        """Sends a webhook to a function URL. Returns the status and the body of the response."""
        connection = http.client.HTTPSConnection(ADDRESS, self.port, timeout=PATIENCE, context=self.trust)
        with contextlib.closing(connection):
            connection.request("POST", "/", webhook.body, {"Host": urlsplit(url).netloc, **webhook.headers()})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def download(self, url):
        # The emulator gives an http URL but accepts only https.
        url = urlsplit(url)._replace(scheme="https", netloc=f"{ADDRESS}:{self.port}").geturl()
        with urllib.request.urlopen(url, context=self.trust) as response:
            return response.read()

    def stacks(self):
        """The names of the stacks without SAM's own, the newest first."""
        stacks = self.cloudformation.describe_stacks()["Stacks"]
        stacks.sort(key=lambda stack: stack["CreationTime"], reverse=True)
        return [stack["StackName"] for stack in stacks if stack["StackName"] != "aws-sam-cli-managed-default"]

    def archives(self):
        """The objects that SAM has uploaded, as pairs of bucket and key."""
        buckets = [bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]]
        objects = {name: self.s3.list_objects_v2(Bucket=name).get("Contents", []) for name in buckets}
        return [(name, item["Key"]) for name, items in objects.items() for item in items]

    def inventory(self):
        """The content of the account, without SAM's own bucket."""
        return {
            "alarms": [alarm["AlarmName"] for alarm in self.cloudwatch.describe_alarms()["MetricAlarms"]],
            "archives": self.archives(),
            "dashboards": [entry["DashboardName"] for entry in self.cloudwatch.list_dashboards()["DashboardEntries"]],
            "exports": [export["Name"] for export in self.cloudformation.list_exports()["Exports"]],
            "functions": [function["FunctionName"] for function in self.functions.list_functions()["Functions"]],
            "log groups": [group["logGroupName"] for group in self.logs.describe_log_groups()["logGroups"]],
            "metric filters": [filter["filterName"] for filter in self.logs.describe_metric_filters()["metricFilters"]],
            "queues": self.sqs.list_queues().get("QueueUrls", []),
            "roles": [role["RoleName"] for role in self.iam.list_roles()["Roles"]],
            "subscriptions": [entry["SubscriptionArn"] for entry in self.sns.list_subscriptions()["Subscriptions"]],
            "topics": [topic["TopicArn"] for topic in self.sns.list_topics()["Topics"]],
        }
