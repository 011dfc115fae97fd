"""Webhooks in, messages out."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from local import emulators
from local.emulators import ADDRESS, CHECKOUT, KEY, PATIENCE, TOOLS
from operate.pollo import NOBODYS_KEY, Webhook
from tests.end_to_end.exchange import FAILURE, SUCCESS, exchange

NOW = int(time.time())


def test_a_webhook_comes_out_of_the_queues_whose_filters_it_passes(start, sns, topic):
    everything = sns.subscribed_queue(topic, "everything")
    failed = sns.subscribed_queue(topic, "failed", FilterPolicy='{"status":["failed"]}')
    videos = sns.subscribed_queue(
        topic, "videos", FilterPolicyScope="MessageBody", FilterPolicy='{"generations":{"url":[{"exists":true}]}}'
    )
    function = start(SNS_TOPIC_ARN=topic)
    video = b'{"taskId":"t 1","status":"succeed","generations":[{"url":"https://videos.example.com/1.mp4"}]}'
    for body, passed in [
        (SUCCESS, [everything]),
        (FAILURE, [everything, failed]),
        (video, [everything, videos]),
    ]:
        webhook = Webhook(body, KEY)
        status, response, line = exchange(function, webhook)
        assert (status, line["result"]) == (200, "published")
        assert response == {"messageId": line["messageId"]}
        outcome = json.loads(body)
        attributes = {
            "status": outcome["status"],
            "taskId": outcome["taskId"],
            "webhookId": webhook.id,
            "webhookTimestamp": webhook.timestamp,
        }
        for queue in [everything, failed, videos]:
            assert queue.take() == ([(body.decode(), attributes)] if queue in passed else []), queue.name


def test_a_body_arrives_byte_for_byte_as_text_and_as_base64(start, topic, queue):
    function = start(SNS_TOPIC_ARN=topic)
    body = '{ "status":\t"succeed",\r\n "taskId": "é \\u00e9 😀", "n": 1.50e+1 }\n'.encode()
    for content_type in ["application/json", "text/plain", "application/octet-stream"]:
        assert exchange(function, Webhook(body, KEY, content_type=content_type))[0] == 200
        assert [body for body, _ in queue.take()] == [body.decode()]


def test_a_fifo_topic_takes_each_outcome_once(start, sns):
    topic = sns.topic("each-outcome-once.fifo")
    queue = sns.subscribed_queue(topic, "each-outcome-once.fifo")
    function = start(SNS_TOPIC_ARN=topic)
    for body in [SUCCESS, SUCCESS, FAILURE, SUCCESS]:
        assert exchange(function, Webhook(body, KEY))[0] == 200
    assert [body for body, _ in queue.take()] == [SUCCESS.decode(), FAILURE.decode()]


def test_what_is_not_pollos_is_rejected_and_not_published(start, topic, queue):
    function = start(SNS_TOPIC_ARN=topic)
    for webhook, expected in [
        (Webhook(SUCCESS, NOBODYS_KEY), (401, "signature_mismatch")),
        (Webhook(SUCCESS, KEY, timestamp=str(NOW - 600)), (401, "timestamp_outside_tolerance")),
        (Webhook(SUCCESS, KEY, timestamp=str(NOW + 600)), (401, "timestamp_outside_tolerance")),
        (Webhook(SUCCESS, KEY, timestamp="soon"), (400, "timestamp_unreadable")),
        (Webhook(SUCCESS, KEY, id=""), (400, "header_missing")),
        (Webhook(b"[]", KEY), (422, "not_an_outcome")),
        (Webhook(SUCCESS + b" " * 1_048_576, KEY), (413, "too_large")),
    ]:
        status, response, line = exchange(function, webhook)
        assert (status, line["result"]) == expected
        assert list(response) == ["error"]
    status, headers, _ = function.request("GET")
    assert (status, headers["Allow"]) == (405, "POST")
    assert json.loads(function.log())["result"] == "method_not_allowed"


def test_a_publish_without_a_topic_is_503_with_retry_after(start):
    function = start(SNS_TOPIC_ARN="arn:aws:sns:us-east-1:123456789012:gone")
    status, headers, _ = function.send(Webhook(SUCCESS, KEY))
    assert (status, headers["Retry-After"]) == (503, "30")
    line = json.loads(function.log())
    assert (line["level"], line["result"], line["code"]) == ("ERROR", "not_published", "NotFound")


def test_a_publish_without_sns_is_503(start, topic, queue):
    with socket.socket() as nobody:
        # Bound, and not listening: nobody else gets the port, and a connection is refused.
        nobody.bind(("127.0.0.1", 0))
        function = start(SNS_TOPIC_ARN=topic, AWS_ENDPOINT_URL_SNS=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        status, response, line = exchange(function, Webhook(SUCCESS, KEY))
    assert (status, line["result"], list(response)) == (503, "not_published", ["error"])


def invoke(port, file, *function):
    """Hands over an event as the README does. Gives the response as it is printed."""
    command = [TOOLS / "cargo-lambda", "lambda", "invoke", "-A", ADDRESS, "-P", str(port), *function, "--data-file"]
    return subprocess.check_output([*command, CHECKOUT / "events" / file], text=True, timeout=PATIENCE)


def test_each_sample_event_gets_the_expected_response(start, topic, queue):
    function = start(SNS_TOPIC_ARN=topic, WEBHOOK_TOLERANCE_SECONDS="0")
    for file, expected in json.loads((CHECKOUT / "events/expected.json").read_text()).items():
        printed = invoke(function.emulator.port, file, "pollo-webhook")
        function.written.append(printed)
        status = expected.get("statusWithoutTolerance", expected["status"])
        assert json.loads(printed)["statusCode"] == status, file
        assert json.loads(function.log())["httpStatus"] == status, file
        assert len(queue.take()) == (1 if status == 200 else 0), file


def test_cargo_lambda_watch_publishes_a_sample_event_with_the_local_settings(sns):
    # Otherwise the event would wait for the build.
    emulators.build()
    queue, port = sns.subscribed_queue(sns.topic("pollo-outcomes"), "local"), emulators.free_port()
    watch = [TOOLS / "cargo-lambda", "lambda", "watch", "-A", ADDRESS, "-P", port, "--env-file", emulators.LOCAL_ENV]
    with emulators.emulator("Lambda", port, [*watch, "--env-var", f"AWS_ENDPOINT_URL_SNS={sns.url}"]):
        assert json.loads(invoke(port, "succeed.json"))["statusCode"] == 200
    assert len(queue.take()) == 1


@pytest.mark.parametrize(
    ("keys", "status", "words"),
    [
        (KEY, 0, ["Signed with key 1: 200", "Forged: 401", "The function works."]),
        (f"{KEY},{NOBODYS_KEY}", 1, ["Signed with key 2: 401", "The key is not one of the function's"]),
    ],
)
def test_the_smoke_test_tells_a_function_that_works_from_one_that_does_not(start, topic, queue, keys, status, words):
    function = start(SNS_TOPIC_ARN=topic)
    environment = {**os.environ, "WEBHOOK_SECRET": keys, "URL": function.url, "STACK": "", "YES": "1"}
    smoke = [sys.executable, "-m", "operate.smoke"]
    ran = subprocess.run(smoke, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == status, ran
    for word in words:
        assert word in ran.stdout + ran.stderr
    assert [json.loads(body)["status"] for body, _ in queue.take()] == ["succeed"]
    assert function.log_lines()
