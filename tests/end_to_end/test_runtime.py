"""The function on AWS's own runtime, with the time-out of the template (15 s) and Lambda's default (3 s)."""

import json
import re
import socket
import subprocess
import sys

import pytest

from local.emulators import ADDRESS, KEY, PATIENCE, SETTINGS
from operate.pollo import Webhook
from tests.end_to_end.conftest import SUCCESS
from tests.end_to_end.rie import event, runtime

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="AWS's emulator runs on Linux only")


@pytest.mark.parametrize("timeout", [15, 3])
def test_a_hanging_sns_leads_to_503_and_the_whole_line_before_the_deadline(binary, timeout):
    with socket.create_server((ADDRESS, 0)) as silent:
        url = f"http://{ADDRESS}:{silent.getsockname()[1]}"
        with runtime(binary, timeout, AWS_ENDPOINT_URL_SNS=url) as function:
            response, [line], _ = function.invoke(event(Webhook(SUCCESS, KEY)))
            assert (response["statusCode"], response["headers"]["retry-after"]) == (503, "30")
            assert (line["result"], line["code"], line["body"]) == ("not_published", "Timeout", SUCCESS.decode())
            # Lambda kills a process that runs into the deadline, and starts another one.
            assert "INIT START" not in str(function.invoke(event(Webhook(b"[]", KEY)))[2])


def test_an_unreadable_event_fails_alone_and_is_logged_without_its_content(binary, sns, topic, queue):
    good = event(Webhook(SUCCESS, KEY))
    broken = {**good, "headers": {"x-webhook-id": "p4ss\nword"}}
    # A dependency panics on a body that is not Base64, before the function's own code runs.
    panic = {**good, "body": "p4ss word%", "isBase64Encoded": True}
    with runtime(binary, 3, SNS_TOPIC_ARN=topic, AWS_ENDPOINT_URL_SNS=sns.url) as function:
        assert function.invoke(good)[0]["statusCode"] == 200
        for unreadable in [{}, "p4ss", broken, panic]:
            response, [line], lines = function.invoke(unreadable)
            assert (line["level"], "errorType" in response) == ("ERROR", True)
            assert "p4ss" not in f"{response} {lines}"
        assert line["result"] == "panic"
        assert re.search(r"\.rs:\d+:\d+$", line["location"])
        assert f"START RequestId: {line['requestId']} Version: $LATEST" in lines
        response, _, lines = function.invoke(good)
        assert (response["statusCode"], "INIT START" in str(lines)) == (200, False)
    assert len(queue.take()) == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WEBHOOK_SECRET", "p4ss word%"), ("AWS_ENDPOINT_URL", "p4ss word%"), ("SSL_CERT_DIR", "/nonexistent")],
)
def test_a_wrong_variable_stops_the_start_and_is_named_in_one_line(binary, variable, value):
    with runtime(binary, 15, **{variable: value}) as function:
        response, [line], _ = function.invoke(event(Webhook(SUCCESS, KEY)))
    assert (response, line["level"], line["result"]) == (b"", "ERROR", "not_configured")
    assert re.search(rf"^{variable}: .*\(expected .*\)$", line["detail"])
    assert "p4ss" not in line["detail"]


def test_an_error_of_the_runtime_is_not_logged_as_one_of_the_webhook_before(binary, sns, topic, httpserver):
    api = "/2018-06-01/runtime/invocation"
    started = {"Lambda-Runtime-Aws-Request-Id": "id-1", "Lambda-Runtime-Deadline-Ms": "9999999999999"}
    httpserver.expect_ordered_request(f"{api}/next").respond_with_json(event(Webhook(SUCCESS, KEY)), headers=started)
    httpserver.expect_ordered_request(f"{api}/id-1/response", "POST").respond_with_data(status=202)
    httpserver.expect_ordered_request(f"{api}/next").respond_with_data(status=500)
    function = {"FUNCTION_NAME": "f", "FUNCTION_VERSION": "1", "FUNCTION_MEMORY_SIZE": "128"}
    function["RUNTIME_API"] = f"{httpserver.host}:{httpserver.port}"
    environment = {**SETTINGS, **{f"AWS_LAMBDA_{name}": value for name, value in function.items()}}
    environment |= {"SNS_TOPIC_ARN": topic, "AWS_ENDPOINT_URL_SNS": sns.url}
    ended = subprocess.run([binary], env=environment, stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
    published, panic = [json.loads(line) for line in ended.stdout.splitlines()]
    assert (ended.returncode, published["result"], published["requestId"]) == (101, "published", "id-1")
    assert (panic["result"], panic.get("requestId")) == ("panic", None)
