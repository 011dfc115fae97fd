"""A deployed stack: emulators of its log and topic, and fakes of CloudFormation and of the function URL."""

import contextlib
import importlib
import io
import json
import os
import sys
import time
import uuid
from unittest import mock
from xml.sax.saxutils import escape

import boto3
import botocore.loaders
import pytest

from local.emulators import CHECKOUT, KEY
from operate import terminal
from operate.pollo import Webhook
from tests.http_server import serving
from tests.leaks import leaks

OTHER_KEY = "YW5vdGhlciBrZXkgb2YgUG9sbG8ncw=="
LOADER = botocore.loaders.create_loader()
AWS_SECRET = "secret/of+the+operator"


@pytest.fixture(scope="session")
def moto(moto_url):
    """The URL of an AWS emulator, and its clients."""
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key=AWS_SECRET, region_name="us-east-1")
    return moto_url, [session.client(service, endpoint_url=moto_url) for service in ["sns", "sqs", "logs"]]


class Stack:
    def __init__(self, moto, function, cloudformation):
        self.name = f"stack-{uuid.uuid4().hex}"
        url, [self.sns, self.sqs, self.logs] = moto
        self.topic = self.sns.create_topic(Name=self.name)["TopicArn"]
        self.group = f"/aws/lambda/{self.name}"
        self.logs.create_log_group(logGroupName=self.group)
        self.logs.create_log_stream(logGroupName=self.group, logStreamName="1")
        self.outputs = {
            "WebhookUrl": function.url,
            "TopicArn": self.topic,
            "FunctionName": self.name,
            "LogGroupName": self.group,
        }
        cloudformation.respond = self.describe
        self.environment = {
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": url,
            "AWS_ENDPOINT_URL_CLOUDFORMATION": cloudformation.url,
            "STACK": self.name,
            "WEBHOOK_SECRET": KEY,
        }

    def describe(self, request):
        """Responds as CloudFormation does to DescribeStacks."""
        if f"StackName={self.name}".encode() not in request.body.split(b"&"):
            error = "<Code>ValidationError</Code><Message>Stack with id other does not exist</Message>"
            return 400, f"<ErrorResponse><Error>{error}</Error></ErrorResponse>".encode()
        outputs = "".join(
            f"<member><OutputKey>{key}</OutputKey><OutputValue>{escape(value)}</OutputValue></member>"
            for key, value in self.outputs.items()
        )
        stack = f"<member><StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{outputs}</Outputs></member>"
        return 200, f"<R><DescribeStacksResult><Stacks>{stack}</Stacks></DescribeStacksResult></R>".encode()

    def has_logged(self, *lines, ago=60):
        """Writes lines to the log, one per millisecond, starting `ago` seconds before now."""
        start = int((time.time() - ago) * 1000)
        events = [
            {"timestamp": start + number, "message": line if isinstance(line, str) else json.dumps(line)}
            for number, line in enumerate(lines)
        ]
        self.logs.put_log_events(logGroupName=self.group, logStreamName="1", logEvents=events)

    def settings(self, **environment):
        """The environment of a command for this stack. `environment` overrides settings, and None removes one."""
        return {name: value for name, value in {**self.environment, **environment}.items() if value is not None}

    def process(self, command, **environment):
        """The arguments of a process that runs a command of the package."""
        arguments = [sys.executable, "-m", f"operate.{command}"]
        return {"args": arguments, "cwd": CHECKOUT, "env": self.settings(**environment), "text": True}

    def run(self, command, **environment):
        """Runs a command of the package without a terminal. Returns its exit status and its output."""
        printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        with (
            mock.patch.dict(os.environ, self.settings(**environment), clear=True),
            # The default session keeps the credentials and the region of an earlier run.
            mock.patch("boto3.DEFAULT_SESSION", None),
            # Reusing the loader saves time: it reads the models of the services only once.
            mock.patch("botocore.session.create_loader", return_value=LOADER),
            mock.patch("sys.stdin", io.StringIO()),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            pytest.raises(SystemExit) as ended,
        ):
            terminal.run(importlib.import_module(f"operate.{command}").main)
        printed.seek(0)
        text = printed.read()
        status = ended.value.code
        # Python prints a text status and exits with 1.
        if isinstance(status, str):
            text, status = f"{text}{status}\n", 1
        assert_shows_no_secret_or_traceback(text)
        return status, text


def assert_shows_no_secret_or_traceback(printed):
    assert "Traceback" not in printed
    secrets = {"WEBHOOK_SECRET": f"{KEY},{OTHER_KEY}", "AWS_SECRET_ACCESS_KEY": AWS_SECRET}
    assert leaks(printed, secrets) == []


def signature(key, headers, body):
    return Webhook(body, key, headers["X-Webhook-Id"], headers["X-Webhook-Timestamp"]).headers()["X-Webhook-Signature"]


def verifies(request):
    """Responds as the function does: accepts a webhook that is signed with its key."""
    if request.headers["X-Webhook-Signature"] != signature(KEY, request.headers, request.body):
        return 401, b'{"error":"signature does not match"}'
    return 200, b'{"messageId":"5b9f6a2e-0001"}'


@pytest.fixture
def function():
    with serving(verifies) as double:
        yield double


@pytest.fixture
def stack(moto, function):
    with serving(None) as cloudformation:
        yield Stack(moto, function, cloudformation)
