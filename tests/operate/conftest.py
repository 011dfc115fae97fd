"""A deployed stack: an emulator of AWS, and HTTP doubles of the function URL and of other services."""

import importlib
import json
import os
import re
import sys
import time
import uuid
from unittest import mock

import boto3
import botocore.loaders
import pytest
from click.testing import CliRunner
from werkzeug import Response

from local.emulators import CHECKOUT, KEY
from operate.pollo import Webhook
from tests.leaks import leaks

OTHER_KEY = "YW5vdGhlciBrZXkgb2YgUG9sbG8ncw=="
API_KEY = "pollo_api/key+of=the-operator"
AWS_SECRET = "secret/of+the+operator"
LOADER = botocore.loaders.create_loader()
PUBLISHED = '{"messageId":"5b9f6a2e-0001"}'


@pytest.fixture(scope="session")
def aws(moto_url):
    """The clients of an emulator of AWS."""
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key=AWS_SECRET, region_name="us-east-1")
    return {name: session.client(name, endpoint_url=moto_url) for name in ["sns", "sqs", "logs"]}


class Double:
    """A service at a path of the HTTP server. `respond` returns the response to a request."""

    def __init__(self, httpserver, path, respond):
        self.url, self.respond, self.requests = httpserver.url_for(path), respond, []
        httpserver.expect_request(re.compile(f"{path}.*")).respond_with_handler(self.handle)

    def handle(self, request):
        request.get_data(parse_form_data=False)
        self.requests.append(request)
        return self.respond(request)

    @property
    def bodies(self):
        return [request.get_data() for request in self.requests]


class Stack:
    """A deployed stack, and the settings of a command for it."""

    def __init__(self, aws, moto_url, double, function):
        self.name, self.aws = f"stack-{uuid.uuid4().hex}", aws
        self.topic = aws["sns"].create_topic(Name=self.name)["TopicArn"]
        self.group = f"/aws/lambda/{self.name}"
        aws["logs"].create_log_group(logGroupName=self.group)
        aws["logs"].create_log_stream(logGroupName=self.group, logStreamName="1")
        self.outputs = {"WebhookUrl": function.url, "TopicArn": self.topic, "LogGroupName": self.group}
        self.cloudformation = double("/cloudformation", self.describe)
        self.environment = {
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": moto_url,
            "AWS_ENDPOINT_URL_CLOUDFORMATION": self.cloudformation.url,
            "STACK": self.name,
            "YES": "1",
            "WEBHOOK_SECRET": KEY,
            "POLLO_API_KEY": API_KEY,
        }

    def describe(self, request):
        """Responds as CloudFormation does to DescribeStacks."""
        if request.form["StackName"] != self.name:
            error = "<Code>ValidationError</Code><Message>Stack with id other does not exist</Message>"
            return Response(f"<ErrorResponse><Error>{error}</Error></ErrorResponse>", 400)
        output = "<member><OutputKey>{}</OutputKey><OutputValue>{}</OutputValue></member>"
        outputs = "".join(output.format(key, value) for key, value in self.outputs.items())
        stack = f"<member><StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{outputs}</Outputs></member>"
        return Response(f"<R><DescribeStacksResult><Stacks>{stack}</Stacks></DescribeStacksResult></R>")

    def has_logged(self, *lines, ago=60):
        """Writes lines to the log, one per millisecond, starting `ago` seconds before now."""
        start = int((time.time() - ago) * 1000)
        events = [{"timestamp": start + number, "message": line} for number, line in enumerate(lines)]
        self.aws["logs"].put_log_events(logGroupName=self.group, logStreamName="1", logEvents=events)

    def settings(self, **environment):
        """The environment of a command for this stack. `environment` overrides settings, and None removes one."""
        return {name: value for name, value in {**self.environment, **environment}.items() if value is not None}

    def process(self, command, **environment):
        """The arguments of a process that runs a command of the package."""
        arguments = [sys.executable, "-m", f"operate.{command}"]
        return {"args": arguments, "cwd": CHECKOUT, "env": self.settings(**environment), "text": True}

    def run(self, command, exits=0, stdin="", **environment):
        """Runs a command of the package without a terminal. Asserts its exit status, and returns its output."""
        with (
            mock.patch.dict(os.environ, self.settings(**environment), clear=True),
            # Reusing the loader saves time: it reads the models of the services only once.
            mock.patch("botocore.session.create_loader", return_value=LOADER),
        ):
            main = getattr(importlib.import_module(f"operate.{command}"), command)
            ran = CliRunner().invoke(main, [], input=stdin)
        assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exc_info
        assert_is_clean(ran.output)
        assert ran.exit_code == exits, ran.output
        return ran.output


def assert_is_clean(printed):
    """Asserts that a command has shown no secret, no traceback, and nothing that controls a terminal."""
    assert "Traceback" not in printed
    assert leaks(printed, {"WEBHOOK_SECRET": f"{KEY},{OTHER_KEY}", "AWS_SECRET_ACCESS_KEY": AWS_SECRET}) == []
    assert API_KEY not in printed
    assert printed.replace("\n", "").isprintable()


def is_signed(request, key=KEY):
    id, timestamp, signature = [request.headers[f"X-Webhook-{name}"] for name in ["Id", "Timestamp", "Signature"]]
    return Webhook(request.get_data(), key, id, timestamp).headers()["X-Webhook-Signature"] == signature


def accepts(*keys):
    """Responds as a function with these keys does."""
    return lambda request: Response(PUBLISHED) if any(is_signed(request, key) for key in keys) else Response("{}", 401)


def line(result, task_id="t1", status="succeed", webhook_id="msg_1", **fields):
    """A log line of the function, with the relevant fields."""
    known = {"result": result, "taskId": task_id, "status": status, "webhookId": webhook_id, **fields}
    return json.dumps({name: value for name, value in known.items() if value is not None})


@pytest.fixture
def double(httpserver):
    """Starts a double at a path."""
    return lambda path, respond: Double(httpserver, path, respond)


@pytest.fixture
def function(double):
    return double("/function", accepts(KEY))


@pytest.fixture
def stack(aws, moto_url, double, function):
    return Stack(aws, moto_url, double, function)
