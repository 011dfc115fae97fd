"""`make listen`, against an emulator of the topic."""

import json
import os
import select
import signal
import subprocess
import time

import pytest
from moto.backends import get_backend
from moto.server import ThreadedMotoServer
from werkzeug import Response

from local.emulators import ADDRESS, CHECKOUT, free_port
from tests.operate.conftest import assert_is_clean

VIDEO = '{"taskId":"t1","status":"succeed",\r\n "generations":[{"url":"https:\\/\\/a/ü\x9b"}], "n":1.50}\n'
PATIENCE = 60


class Listener:
    def __init__(self, command):
        self.process = subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.printed = ""

    def read_until(self, text):
        """Reads the output until it contains `text`."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.printed:
            assert select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0], self.printed
            read = os.read(self.process.stdout.fileno(), 100_000).decode()
            assert read, f"ended after {self.printed}"
            self.printed += read

    def end(self, number=signal.SIGINT):
        """Ends the listener with a signal. Returns its exit status."""
        self.process.send_signal(number)
        self.printed += self.process.communicate(timeout=PATIENCE)[0]
        assert_is_clean(self.printed)
        return self.process.returncode


@pytest.fixture
def listen(stack):
    listeners = []

    def listen(until="Ctrl-C stops it.\n", **environment):
        listeners.append(Listener(stack.process("listen", WEBHOOK_SECRET=None, **environment)))
        listeners[-1].read_until(until)
        return listeners[-1]

    yield listen
    for listener in listeners:
        listener.process.kill()
        listener.process.communicate()


def publish(stack, body, task_id="t1", status="succeed", id="msg_1"):
    values = {"status": status, "taskId": task_id, "webhookId": id, "webhookTimestamp": "1767225600"}
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}
    stack.aws["sns"].publish(TopicArn=stack.topic, Message=body, MessageAttributes=attributes)


def left(stack):
    """The names of all queues of listeners, and of the subscribed ones."""
    urls = stack.aws["sqs"].list_queues(QueueNamePrefix=f"pollo-webhook-listen-{stack.name}-").get("QueueUrls", [])
    subscriptions = stack.aws["sns"].list_subscriptions_by_topic(TopicArn=stack.topic)["Subscriptions"]
    return [url.split("/")[-1] for url in urls], [entry["Endpoint"].split(":")[-1] for entry in subscriptions]


def make_an_hour_old(name):
    get_backend("sqs")["123456789012"]["us-east-1"].queues[name].created_timestamp -= 3600


def test_each_published_outcome_is_shown(stack, listen):
    listener = listen()
    assert listener.printed == f"Listening to {stack.topic}. Ctrl-C stops it.\n"
    publish(stack, VIDEO, "動画", "failed")
    listener.read_until("webhookTimestamp=1767225600\n")
    escaped = VIDEO.replace("\r\n", "\\r\\n").replace("\n", "\\n").replace("\x9b", "\\x9b")
    attributes = "status=failed  taskId=動画  webhookId=msg_1  webhookTimestamp=1767225600"
    assert f"   published    {escaped}\n                {attributes}\n" in listener.printed


def test_only_the_topic_may_send_to_the_queue_from_its_creation_on(stack, listen):
    listen()
    [name], _ = left(stack)
    sqs = stack.aws["sqs"]
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    sender = {"Principal": {"Service": "sns.amazonaws.com"}, "Condition": {"ArnEquals": {"aws:SourceArn": stack.topic}}}
    allowed = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": attributes["QueueArn"]}
    assert json.loads(attributes["Policy"])["Statement"] == [sender | allowed]
    assert (attributes["SqsManagedSseEnabled"], attributes["MessageRetentionPeriod"]) == ("true", "900")
    assert attributes["LastModifiedTimestamp"] == attributes["CreatedTimestamp"]


def test_outcomes_are_filtered_forwarded_and_saved(stack, double, listen, tmp_path):
    responses = iter([Response("busy", 500), Response("", 204)])
    service = double("/outcomes", lambda _: next(responses))
    saved = tmp_path / "a/b/_____1-succeed.json"
    settings = {"FORWARD": f"{service.url}?a=b", "SAVE": f"{tmp_path}/a/b", "FILTER": '{"status":["succeed"]}'}
    listener = listen(**settings)
    publish(stack, "0", status="failed")
    publish(stack, VIDEO, task_id="../動 1")
    listener.read_until(f"   forwarded    not forwarded: 500 busy\n   saved        {saved}\n")
    publish(stack, VIDEO, task_id="../動 1")
    listener.read_until(f"   forwarded    204\n   saved        not saved: {saved}: File exists\n")
    assert service.bodies == [VIDEO.encode()] * 2
    request = service.requests[0]
    assert (request.full_path, request.headers["Content-Type"]) == ("/outcomes?a=b", "application/json")
    assert {name: value for name, value in request.headers.items() if name.startswith("X-")} == {
        "X-Pollo-Status": "succeed",
        "X-Pollo-Taskid": "../動 1".encode().decode("latin-1"),
        "X-Pollo-Webhookid": "msg_1",
        "X-Pollo-Webhooktimestamp": "1767225600",
    }
    event, expected = [json.loads(path.read_text()) for path in [saved, CHECKOUT / "events" / "succeed.json"]]
    assert abs(event["requestContext"]["timeEpoch"] / 1000 - time.time()) < PATIENCE
    expected["body"] = VIDEO
    # Nothing of Pollo's signature is kept.
    del expected["headers"]["x-webhook-signature"]
    expected["headers"] |= {"content-length": str(len(VIDEO.encode())), "x-webhook-id": "msg_1"}
    expected["requestContext"] |= {name: event["requestContext"][name] for name in ["time", "timeEpoch"]}
    assert event == expected


def test_an_outcome_that_cannot_be_forwarded_is_still_shown(stack, listen):
    listener = listen(FORWARD="http://127.0.0.1:1/")
    publish(stack, "1")
    listener.read_until("   forwarded    not forwarded: http://127.0.0.1:1/ cannot be reached: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_removes_the_queue_and_its_subscription(stack, listen, number):
    listener = listen()
    assert [len(names) for names in left(stack)] == [1, 1]
    listener.process.send_signal(number)
    time.sleep(0.02)
    assert listener.end(number) == 0
    assert listener.printed.endswith("\nRemoved the queue and its subscription.\n")
    assert left(stack) == ([], [])


def test_a_rejected_subscription_removes_the_queue(stack, listen):
    error = "AWS: An error occurred (InvalidParameter) when calling the Subscribe"
    listener = listen(error, FILTER='{"status":[{"no-such":1}]}')
    assert listener.process.wait(PATIENCE) == 1
    assert left(stack) == ([], [])


def test_what_was_published_while_the_network_was_gone_is_shown(stack, listen):
    port = free_port()
    sqs = ThreadedMotoServer(ADDRESS, port, verbose=False)
    sqs.start()
    listener = listen(AWS_ENDPOINT_URL_SQS=f"http://{ADDRESS}:{port}")
    sqs.stop()
    listener.read_until("\nAWS cannot be reached: ")
    publish(stack, VIDEO)
    sqs = ThreadedMotoServer(ADDRESS, port, verbose=False)
    sqs.start()
    listener.read_until("webhookId=msg_1")
    assert listener.end() == 0
    sqs.stop()


def test_the_queue_of_another_listener_is_kept_until_it_is_an_hour_old(stack, listen):
    listener = listen()
    [[name], _] = left(stack)
    younger = listen()
    assert f"Found {name}: its listener runs, or was killed. It is removed when it is an hour old." in younger.printed
    younger.end()
    assert left(stack) == ([name], [name])
    make_an_hour_old(name)
    assert listen().end() == 0
    assert left(stack) == ([], [])
    listener.read_until("The queue was removed: another `make listen` does that after an hour.\n")
    assert listener.process.wait(PATIENCE) == 1


def test_the_outcomes_in_an_hour_old_queue_are_shown_before_it_is_removed(stack, listen):
    listen().end(signal.SIGKILL)
    [[leftover], _] = left(stack)
    for number in range(12):
        publish(stack, f"{number}", id=f"msg_{number}")
    make_an_hour_old(leftover)
    shown, removed, _ = listen().printed.partition(f"Removed {leftover}, which is an hour old.\n")
    assert removed
    assert all(f"webhookId=msg_{number} " in shown for number in range(12))
