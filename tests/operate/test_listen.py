"""`make listen`, against an emulator of the topic."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time

import pytest

from operate.listen import SAMPLE
from tests.operate.conftest import assert_shows_no_secret_or_traceback

VIDEO = '{"taskId":"t1","status":"succeed",\r\n "generations":[{"url":"https:\\/\\/a/ü\x9b"}], "n":1.50}\n'
LISTENING = "Listening to "
PATIENCE = 60


class Listener:
    def __init__(self, stack, process):
        self.stack, self.process, self.printed = stack, process, ""

    def read_until(self, text):
        """Reads the output until it contains `text`."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.printed:
            assert select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0], self.printed
            read = os.read(self.process.stdout.fileno(), 100_000).decode()
            assert read, f"ended after {self.printed}"
            self.printed += read

    def end(self, number=signal.SIGINT):
        """Ends the listener. Returns its exit status."""
        self.process.send_signal(number)
        self.printed += self.process.communicate(timeout=PATIENCE)[0]
        assert_shows_no_secret_or_traceback(self.printed)
        return self.process.returncode


@pytest.fixture
def listen(stack):
    with contextlib.ExitStack() as processes:

        def listen(**environment):
            command = stack.process("listen", WEBHOOK_SECRET=None, **environment)
            process = subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            processes.enter_context(process)
            processes.callback(process.kill)
            return Listener(stack, process)

        yield listen


def publish(stack, body, task_id="t1", status="succeed", id="msg_1"):
    values = {"status": status, "taskId": task_id, "webhookId": id, "webhookTimestamp": "1767225600"}
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}
    stack.sns.publish(TopicArn=stack.topic, Message=body, MessageAttributes=attributes)


def left(stack):
    """The names of all queues of listeners, and of the subscribed ones."""
    urls = stack.sqs.list_queues(QueueNamePrefix=f"pollo-webhook-listen-{stack.name}-").get("QueueUrls", [])
    subscriptions = stack.sns.list_subscriptions_by_topic(TopicArn=stack.topic)["Subscriptions"]
    names = [url.rpartition("/")[2] for url in urls], [entry["Endpoint"].split(":")[-1] for entry in subscriptions]
    return [sorted(each) for each in names]


def test_each_published_outcome_is_shown(stack, listen):
    listener = listen()
    listener.read_until(f"{LISTENING}{stack.topic}. Ctrl-C stops it.\n")
    publish(stack, '{"taskId":"動画","status":"failed"}', "動画", "failed", "msg_2")
    listener.read_until("webhookId=msg_2")
    publish(stack, VIDEO)
    listener.read_until("webhookId=msg_1")
    assert '   published    {"taskId":"動画","status":"failed"}\n' in listener.printed
    assert (
        "\n                status=failed  taskId=動画  webhookId=msg_2  webhookTimestamp=1767225600\n"
        in listener.printed
    )
    assert f"   published    {VIDEO!a}\n" in listener.printed
    assert listener.printed.count("published ") == 2


def test_only_the_topic_may_send_to_the_queue(stack, listen):
    listen().read_until(LISTENING)
    [name], _ = left(stack)
    url = stack.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    [statement] = json.loads(attributes["Policy"])["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": attributes["QueueArn"],
        "Condition": {"ArnEquals": {"aws:SourceArn": stack.topic}},
    }
    assert (attributes["SqsManagedSseEnabled"], attributes["MessageRetentionPeriod"]) == ("true", "900")
    assert stack.sqs.list_queue_tags(QueueUrl=url)["Tags"]["pollo-webhook-stack"] == stack.name


def test_a_filter_policy_selects_outcomes(stack, listen):
    listener = listen(FILTER='{"status":["failed"]}')
    listener.read_until(LISTENING)
    publish(stack, "1")
    publish(stack, "2", status="failed", id="msg_2")
    listener.read_until("webhookId=msg_2")
    assert "webhookId=msg_1" not in listener.printed


def test_each_outcome_is_forwarded_unchanged_with_its_attributes_as_headers(stack, function, listen):
    function.respond = lambda request: (500, b"busy") if request.body == b"1" else (204, b"")
    listener = listen(FORWARD=f"{function.url}outcomes?a=b")
    listener.read_until(LISTENING)
    publish(stack, "1")
    listener.read_until("   forwarded    not forwarded: 500 busy\n")
    publish(stack, VIDEO, task_id="動画")
    listener.read_until("   forwarded    204\n")
    request = function.requests[1]
    assert (request.path, request.body) == ("/outcomes?a=b", VIDEO.encode())
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["content-type"] == "application/json"
    assert {name: value for name, value in headers.items() if name.startswith("x-")} == {
        "x-pollo-status": "succeed",
        "x-pollo-taskid": "動画".encode().decode("latin-1"),
        "x-pollo-webhookid": "msg_1",
        "x-pollo-webhooktimestamp": "1767225600",
    }


def test_an_outcome_that_cannot_be_forwarded_is_still_shown(stack, listen):
    listener = listen(FORWARD="http://127.0.0.1:1/")
    listener.read_until(LISTENING)
    for id in ["msg_1", "msg_2"]:
        publish(stack, "1", id=id)
        listener.read_until(f"webhookId={id}")
    listener.read_until("   forwarded    not forwarded: http://127.0.0.1:1/ cannot be reached: ")
    assert listener.end() == 0


def test_each_outcome_is_saved_once_as_a_sample_event_without_a_signature(stack, listen, tmp_path):
    folder = tmp_path / "a" / "b"
    listener = listen(SAVE=str(folder))
    listener.read_until(LISTENING)
    publish(stack, VIDEO, task_id="../t 1")
    path = folder / "___t_1-succeed.json"
    listener.read_until(f"   saved        {path}\n")
    event, expected = json.loads(path.read_text()), json.loads(SAMPLE.read_text())
    assert abs(event["requestContext"]["timeEpoch"] / 1000 - time.time()) < PATIENCE
    expected["body"] = VIDEO
    del expected["headers"]["x-webhook-signature"]
    expected["headers"] |= {"content-length": str(len(VIDEO.encode())), "x-webhook-id": "msg_1"}
    expected["requestContext"] |= {name: event["requestContext"][name] for name in ["time", "timeEpoch"]}
    expected["requestContext"]["http"]["userAgent"] = "listen"
    assert event == expected
    publish(stack, "2", task_id="../t 1")
    listener.read_until(f"   saved        not saved: {path}: File exists\n")
    assert json.loads(path.read_text()) == event


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_removes_the_queue_and_its_subscription(stack, listen, number):
    listener = listen()
    listener.read_until(LISTENING)
    assert [len(names) for names in left(stack)] == [1, 1]
    assert listener.end(number) == 0
    assert listener.printed.endswith("\nRemoved the queue and its subscription.\n")
    assert left(stack) == [[], []]


def test_a_closed_output_removes_the_queue_and_its_subscription(stack, listen):
    listener = listen()
    listener.read_until(LISTENING)
    listener.process.stdout.close()
    publish(stack, "1")
    listener.process.wait(PATIENCE)
    assert left(stack) == [[], []]


def test_a_rejected_subscription_removes_the_queue(stack, listen):
    listener = listen(FILTER='{"status":"failed"}')
    listener.read_until("AWS reports an error: An error occurred (InvalidParameter) when calling the Subscribe")
    assert listener.process.wait(PATIENCE) == 1
    assert left(stack) == [[], []]


def test_a_deleted_queue_ends_the_listener(stack, listen):
    listener = listen()
    listener.read_until(LISTENING)
    stack.sqs.delete_queue(QueueUrl=stack.sqs.get_queue_url(QueueName=left(stack)[0][0])["QueueUrl"])
    listener.read_until("The queue was deleted, by someone or by a listener that found no heartbeat of this one.\n")
    assert listener.process.wait(PATIENCE) == 1
    assert left(stack) == [[], []]


def test_a_listener_removes_the_queue_of_a_killed_one_but_not_of_a_running_one(stack, listen):
    killed = listen()
    killed.read_until(LISTENING)
    killed.end(signal.SIGKILL)
    leftover = left(stack)
    alive = listen()
    alive.read_until(f"Removed {leftover[0][0]}, which a killed listener has left.\n")
    alive.read_until(LISTENING)
    listening = left(stack)
    assert listening != leftover
    assert [len(names) for names in listening] == [1, 1]
    other = listen()
    other.read_until(LISTENING)
    assert "Removed" not in other.printed
    assert (other.end(), left(stack)) == (0, listening)
    publish(stack, "1")
    alive.read_until("webhookId=msg_1")
    assert (alive.end(), left(stack)) == (0, [[], []])


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"STACK": None}, "STACK is not set: make listen STACK=pollo-webhook\n"),
        ({"STACK": "other"}, "There is no stack other in us-east-1"),
        ({"FILTER": "{'status': 1}"}, "FILTER=\"{'status': 1}\" is not a JSON object; expected a filter policy"),
        ({"FILTER": '["failed"]'}, "FILTER='[\"failed\"]' is not a JSON object; expected a filter policy"),
        ({"FORWARD": "localhost:3000"}, "FORWARD is not an http or https URL; expected one such as http://localhost"),
        ({"FORWARD": "file:///etc/passwd"}, "FORWARD is not an http or https URL"),
        ({"SAVE": "/dev/null/a"}, "SAVE='/dev/null/a' is not a folder: Not a directory.\n"),
    ],
)
def test_an_invalid_setting_is_reported_before_anything_is_created(stack, environment, sentence):
    status, printed = stack.run("listen", **environment)
    assert printed.startswith(sentence)
    assert (status, len(printed.splitlines()), left(stack)) == (1, 1, [[], []])
