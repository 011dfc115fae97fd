"""The compiled function, with emulators of Lambda, SNS and SQS."""

import contextlib
import json
import re
import time

import pytest

from local import emulators
from tests.leaks import leaks

# An unexpected log line or message after the response arrives within this time.
SETTLING_SECONDS = 0.2

SUCCESS = b'{"taskId":"cm9ap1d4e0001","status":"succeed"}'
ROLE = {"AWS_SECRET_ACCESS_KEY": "secret/of+the+role", "AWS_SESSION_TOKEN": "token/of+the+role"}


def exchange(function, webhook):
    """Sends `webhook`. Returns the status of the response, and the log line."""
    status, headers, _ = function.send(webhook)
    line = json.loads(function.log())
    assert (headers["Content-Type"], line["httpStatus"]) == ("application/json", status)
    return status, line


@pytest.fixture(scope="session")
def binary():
    return emulators.binary()


@pytest.fixture(scope="session")
def sns():
    with emulators.sns() as sns:
        yield sns


@pytest.fixture
def start(binary, sns):
    """Starts functions. Checks at the end that they wrote no secret and no log line that the test did not read."""
    functions = []
    with contextlib.ExitStack() as running:

        def start(**environment):
            environment = {"WEBHOOK_TOLERANCE_SECONDS": "300", **ROLE, **environment}
            functions.append(running.enter_context(emulators.function(binary, sns, **environment)))
            return functions[-1]

        yield start
        time.sleep(SETTLING_SECONDS)
        unread = [line for function in functions for line in function.log_lines()]
    assert unread == []
    for function in functions:
        for text in function.written:
            assert leaks(text, function.environment) == [], text


@pytest.fixture
def name(request):
    return re.sub(r"\W", "-", request.node.name.removeprefix("test_"))[:40]


@pytest.fixture
def topic(sns, name):
    return sns.topic(name)


@pytest.fixture
def queue(sns, topic, name):
    """A queue that receives every message. Checks at the end that the test has taken all of them."""
    queue = sns.subscribed_queue(topic, name)
    yield queue
    time.sleep(SETTLING_SECONDS)
    assert queue.take() == []
