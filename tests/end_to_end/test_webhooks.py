"""Sends webhooks and reads the published messages."""

import json
import subprocess

from local import emulators
from local.emulators import ADDRESS, CHECKOUT, KEY, PATIENCE, TOOLS
from operate.pollo import Webhook
from tests.end_to_end.exchange import FAILURE, SUCCESS, exchange


def test_a_webhook_reaches_the_queues_whose_filters_match(start, sns, topic):
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


def test_a_fifo_topic_delivers_an_outcome_once(start, sns):
    topic = sns.topic("each-outcome-once.fifo")
    queue = sns.subscribed_queue(topic, "each-outcome-once.fifo")
    function = start(SNS_TOPIC_ARN=topic)
    for body in [SUCCESS, SUCCESS, FAILURE, SUCCESS]:
        assert exchange(function, Webhook(body, KEY))[0] == 200
    assert [body for body, _ in queue.take()] == [SUCCESS.decode(), FAILURE.decode()]


def invoke(port, file, *function):
    """Sends an event as the README does. Returns the printed response."""
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
    # Without this, the event has to wait for the build.
    emulators.build()
    queue, port = sns.subscribed_queue(sns.topic("pollo-outcomes"), "local"), emulators.free_port()
    watch = [TOOLS / "cargo-lambda", "lambda", "watch", "-A", ADDRESS, "-P", port, "--env-file", emulators.LOCAL_ENV]
    with emulators.emulator("Lambda", port, [*watch, "--env-var", f"AWS_ENDPOINT_URL_SNS={sns.url}"]):
        assert json.loads(invoke(port, "succeed.json"))["statusCode"] == 200
    assert len(queue.take()) == 1
