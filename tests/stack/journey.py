"""The stacks of one run: deploys, calls, operates and deletes them as a user does."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import boto3
import urllib3

from operate.pollo import Webhook

CHECKOUT = Path(__file__).resolve().parents[2]
SAM = Path(sys.executable).parent / "sam"
# Has the packages that the release pins for its commands.
OPERATE = CHECKOUT / ".tools" / "operate" / "bin" / "python"

AWS = os.environ.get("ON") == "aws"
# Longest wait for what is expected, in seconds. On AWS, alarms and policies take minutes.
PATIENCE = 900 if AWS else 60

# How SAM expects an empty value.
NOTHING = '""'

# An outcome with a result that the function of `videos` does not download.
TEXT = [{"id": "g1", "status": "succeed", "mediaType": "text"}]


def eventually(question):
    """Waits for a true answer, and returns it."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := question()):
        assert time.monotonic() < deadline, f"{question.__name__} is still {answer}"
        time.sleep(0.5)
    return answer


def pages(service, operation, **parameters):
    return list(boto3.client(service).get_paginator(operation).paginate(**parameters))


class Journey:
    def __init__(self, name, package):
        self.name, self.package, self.times, self.suffixes = name, package, [], set()
        # Undoes everything in reverse order, even if a part of that fails.
        self.undo = contextlib.ExitStack()

    def run(self, *words, **variables):
        """Runs a command in the unpacked package, without a terminal or a compiler. Returns its status and output."""
        environment = {**os.environ, "SAM_CLI_TELEMETRY": "0", "PATH": str(self.package), **variables}
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        command = [str(word) for word in words]
        ran = subprocess.run(command, cwd=self.package, env=environment, text=True, check=False, **streams)
        return ran.returncode, ran.stdout

    def sam(self, command, suffix, *options):
        return self.run(SAM, command, "--stack-name", self.name + suffix, *options)

    def deploy(self, suffix="", template="template.yaml", **parameters):
        """Creates or updates a stack, which is deleted at the end. Returns it."""
        if suffix not in self.suffixes:
            self.suffixes.add(suffix)
            self.undo.callback(self.delete, suffix)
        overrides = [f"{name}={value or NOTHING}" for name, value in parameters.items()]
        overrides = ["--parameter-overrides", *overrides] if overrides else []
        status, printed = self.sam("deploy", suffix, "-t", template, *overrides)
        assert status == 0, printed
        return Stack(self, self.name + suffix)

    def delete(self, suffix):
        status, printed = self.sam("delete", suffix, "--no-prompts")
        assert status == 0, printed

    def left(self):
        """The lists of the account that still name this run."""
        operations = [
            *[("cloudformation", "list_exports"), ("cloudwatch", "describe_alarms")],
            *[("iam", "list_roles"), ("lambda", "list_functions"), ("logs", "describe_log_groups")],
            *[("logs", "describe_metric_filters"), ("s3", "list_buckets"), ("secretsmanager", "list_secrets")],
            *[("sns", "list_subscriptions"), ("sns", "list_topics"), ("sqs", "list_queues")],
        ]
        return [operation for operation in operations if self.name in json.dumps(pages(*operation), default=str)]


class Stack:
    """A deployed stack."""

    def __init__(self, journey, name):
        self.journey, self.name, self.received = journey, name, []
        [stack] = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def url(self):
        """The function's URL. The emulator serves it at its own address, without DNS."""
        url, emulator = self.outputs["WebhookUrl"], os.environ.get("AWS_ENDPOINT_URL")
        return f"{emulator}/_aws/lambda-url/{urllib3.util.parse_url(url).host.partition('.')[0]}/" if emulator else url

    def send(self, task, key, generations=TEXT, headers=None):
        """Sends a success, signed unless there are headers. Returns the status of the response."""
        body = json.dumps({"taskId": task, "status": "succeed", "generations": generations}).encode()
        headers = Webhook(body, key).headers() if headers is None else headers
        http = urllib3.PoolManager(ca_certs=os.environ.get("AWS_CA_BUNDLE"), timeout=20, retries=False)
        return http.request("POST", self.url(), body=body, headers=headers).status

    def send_until(self, status, key, *generations):
        """Sends successes of new tasks until one gets this status, because a policy takes time to be in force."""

        def task():
            name = f"task-{secrets.token_hex(4)}"
            return name if self.send(name, key, [*TEXT, *generations]) == status else None

        return eventually(task)

    def function(self):
        return boto3.client("lambda").get_function_configuration(FunctionName=self.outputs["FunctionName"])

    def log(self):
        """The lines of the log that are JSON."""
        found = pages("logs", "filter_log_events", logGroupName=self.outputs["LogGroupName"])
        messages = [event["message"] for page in found for event in page["events"]]
        return [json.loads(message) for message in messages if message.startswith("{")]

    def logged(self, task):
        """Waits for the lines of a task in the log, which CloudWatch shows only after some seconds."""
        return eventually(lambda: [line for line in self.log() if line.get("taskId") == task])

    def outcomes(self, task):
        """Waits for the outcome of a task in the queue. Returns it, with any further ones that have arrived."""
        sqs, url = boto3.client("sqs"), self.outputs["QueueUrl"]

        def arrived():
            wait = {"WaitTimeSeconds": 1, "MessageAttributeNames": ["All"]}
            for message in sqs.receive_message(QueueUrl=url, **wait).get("Messages", []):
                attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
                self.received.append({**attributes, "body": message["Body"]})
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return [outcome for outcome in self.received if outcome["taskId"] == task]

        return eventually(arrived)

    @contextlib.contextmanager
    def outage(self):
        """Nobody can publish during the block."""
        sns, topic = boto3.client("sns"), self.outputs["TopicArn"]
        working = sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
        deny = {"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": topic}
        broken = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=broken)
        try:
            yield
        finally:
            sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=working)

    def operate(self, command, key, **variables):
        """Runs a command of the release. Returns its exit status and its output."""
        settings = {"STACK": self.name, "URL": self.url(), "YES": "1", "WEBHOOK_SECRET": key, **variables}
        # The commands trust the authority of the emulator too.
        settings |= {"SSL_CERT_FILE": os.environ["AWS_CA_BUNDLE"]} if "AWS_CA_BUNDLE" in os.environ else {}
        return self.journey.run(OPERATE, "-m", f"operate.{command}", **settings)
