"""Sends webhooks and reads the published messages."""

import json
import subprocess

from local import emulators
from local.emulators import ADDRESS, CHECKOUT, KEY, PATIENCE, TOOLS
from operate.pollo import Webhook
from tests.end_to_end.exchange import exchange


def test_a_body_arrives_byte_for_byte_as_text_and_as_base64(start, topic, queue):
    function = start(SNS_TOPIC_ARN=topic)
    body = '{ "status":\t"succeed",\r\n "taskId": "é \\u00e9 😀", "n": 1.50e+1 }\n'.encode()
    for content_type in ["application/json", "text/plain", "application/octet-stream"]:
        webhook = Webhook(body, KEY, content_type=content_type)
        status, response, line = exchange(function, webhook)
        assert (status, line["result"], response) == (200, "published", {"messageId": line["messageId"]})
        attributes = {"webhookId": webhook.id, "webhookTimestamp": webhook.timestamp}
        assert queue.take() == [(body.decode(), {"status": "succeed", "taskId": "é é 😀", **attributes})]


def test_cargo_lambda_publishes_a_sample_event_with_the_local_settings(sns):
    """The commands of the README."""
    # Without this, the event has to wait for the build.
    subprocess.run(["cargo", "build", "--locked", "--bin", "pollo-webhook"], cwd=CHECKOUT, check=True)
    queue, port = sns.subscribed_queue(sns.topic("pollo-outcomes"), "local"), emulators.free_port()
    cargo, address = [TOOLS / "cargo-lambda", "lambda"], ["-A", ADDRESS, "-P", str(port)]
    watch = [
        *cargo,
        "watch",
        *address,
        "--env-file",
        emulators.LOCAL_ENV,
        "--env-var",
        f"AWS_ENDPOINT_URL_SNS={sns.url}",
    ]
    invoke = [*cargo, "invoke", *address, "--data-file", CHECKOUT / "events" / "succeed.json"]
    with emulators.emulator("Lambda", port, watch):
        assert json.loads(subprocess.check_output(invoke, timeout=PATIENCE))["statusCode"] == 200
    assert len(queue.take()) == 1
