"""The log of the function: one line for each request, counted by the template's metrics, without secrets."""

import functools
import json
import re
import subprocess
import time

import pytest
import yaml

from local.emulators import CHECKOUT, KEY
from operate.pollo import NOBODYS_KEY, Webhook, key_bytes
from operate.terminal import Failure
from tests.end_to_end.exchange import REQUEST_ID, SUCCESS, exchange
from tests.leaks import leaks


def event(name):
    return json.loads((CHECKOUT / "events" / name).read_text())


class Template(yaml.SafeLoader):
    """Reads the template without CloudFormation's functions."""


Template.add_multi_constructor("!", lambda *_: None)


@functools.cache
def metrics():
    """The template's metrics by name, with the terms of their filters. A metric counts a line if one term matches."""
    found = {}
    template = yaml.load((CHECKOUT / "template.yaml").read_text(), Template)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Logs::MetricFilter":
            pattern = " ".join(resource["Properties"]["FilterPattern"].split())
            terms = re.findall(r'\$\.(\w+) (=|>=) ("\w+"|\d+)', pattern)
            # The pattern has no other parts.
            assert pattern == "{ " + " || ".join(f"$.{' '.join(term)}" for term in terms) + " }"
            [transformation] = resource["Properties"]["MetricTransformations"]
            found[transformation["MetricName"]] = terms
    return found


def counted(line):
    """The names of the metrics that count a line."""
    for name, terms in metrics().items():
        for field, operator, operand in terms:
            value, operand = line.get(field), json.loads(operand)
            if value == operand if operator == "=" else isinstance(value, int | float) and value >= operand:
                yield name
                break


def test_each_webhook_gets_its_status_and_is_counted_by_the_right_metrics(start, topic, queue):
    function = start(SNS_TOPIC_ARN=topic)
    # The maximum of SNS, without room for the attributes.
    too_large = SUCCESS.ljust(1_048_576)
    early, late = [str(int(time.time()) + seconds) for seconds in [600, -600]]
    seen = set()
    for webhook, result, expected in [
        (Webhook(SUCCESS, KEY), (200, "published"), ["Published", "SnsMilliseconds"]),
        (Webhook(SUCCESS, KEY, id=""), (400, "header_missing"), ["Unverified"]),
        (Webhook(SUCCESS, NOBODYS_KEY), (401, "signature_mismatch"), ["Unverified"]),
        (Webhook(too_large, NOBODYS_KEY), (401, "signature_mismatch"), ["Unverified"]),
        (Webhook(SUCCESS, KEY, timestamp="soon"), (400, "timestamp_unreadable"), ["AuthenticRejected"]),
        (Webhook(SUCCESS, KEY, timestamp=early), (401, "timestamp_outside_tolerance"), ["AuthenticRejected"]),
        (Webhook(SUCCESS, KEY, timestamp=late), (401, "timestamp_outside_tolerance"), ["AuthenticRejected"]),
        (Webhook(too_large, KEY), (413, "too_large"), ["AuthenticRejected"]),
        (Webhook(b"[]", KEY), (422, "not_an_outcome"), ["AuthenticRejected"]),
    ]:
        status, response, line = exchange(function, webhook)
        assert (status, line["result"]) == result
        assert list(response) == (["messageId"] if status == 200 else ["error"])
        assert sorted(counted(line)) == expected, line["result"]
        seen |= set(expected)
    unreadable = event("succeed.json")
    unreadable["headers"]["x-webhook-id"] = "\ufffe"
    function.invoke(json.dumps(unreadable))
    line = json.loads(function.log())
    assert (line["result"], list(counted(line))) == ("header_unreadable", ["Unverified"])
    status, headers, _ = function.request("GET")
    line = json.loads(function.log())
    assert (status, headers["Allow"], line["result"], list(counted(line))) == (405, "POST", "method_not_allowed", [])
    function = start(SNS_TOPIC_ARN="arn:aws:sns:us-east-1:123456789012:gone")
    status, headers, _ = function.send(Webhook(SUCCESS, KEY))
    line = json.loads(function.log())
    assert (status, headers["Retry-After"], line["level"], line["code"]) == (503, "30", "ERROR", "NotFound")
    assert (line["result"], sorted(counted(line))) == ("not_published", ["NotPublished", "SnsMilliseconds"])
    # Every metric was tested.
    assert seen | {"NotPublished"} == set(metrics())
    assert len(queue.take()) == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WEBHOOK_SECRET", ""),
        ("WEBHOOK_SECRET", "p4ss word%"),
        ("WEBHOOK_SECRET", "changeme"),
        ("SNS_TOPIC_ARN", "p4ss word%"),
        ("WEBHOOK_TOLERANCE_SECONDS", "p4ss word%"),
        ("AWS_ENDPOINT_URL_SNS", "p4ss word%"),
        ("AWS_ENDPOINT_URL", "p4ss word%"),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("SSL_CERT_FILE", "/p4ss word%"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named_in_one_line(start, binary, variable, value):
    function = start(**{variable: value})
    with pytest.raises(Failure, match=variable):
        function.request("GET")
    assert function.process.wait() != 0
    ended = subprocess.run([binary], env=function.environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr == ""
    [line] = [json.loads(line) for line in ended.stdout.splitlines()]
    assert (line["level"], line["result"]) == ("ERROR", "not_configured")
    assert re.search(rf"^{variable}: .* \(expected .*\)$", line["detail"])
    assert "p4ss" not in ended.stdout


def test_an_unreadable_event_is_logged_in_one_line_without_its_content(start, topic, queue):
    function = start(SNS_TOPIC_ARN=topic)
    broken = event("succeed.json")
    broken["headers"]["x-webhook-id"] = "p4ss\nword"
    # A dependency panics on a body that is not Base64, before the function's own code runs.
    panic = {**event("base64-body.json"), "body": "p4ss word%"}
    for unread in [broken, {}, "p4ss", panic]:
        status, _, body = function.invoke(json.dumps(unread))
        assert status != 200
        text = function.log()
        assert "p4ss" not in body + text
        line = json.loads(text)
        assert line["level"] == "ERROR"
    assert line["result"] == "panic"
    assert re.search(r"\.rs:\d+:\d+$", line["location"])
    assert REQUEST_ID.fullmatch(line["requestId"])
    assert exchange(function, Webhook(SUCCESS, KEY))[0] == 200
    assert function.process.poll() is None
    assert len(queue.take()) == 1


def test_the_check_finds_a_logged_key_or_signature():
    signature = Webhook(SUCCESS, KEY).headers()["X-Webhook-Signature"]
    environment = {"WEBHOOK_SECRET": f"{NOBODYS_KEY},{KEY}", "AWS_SECRET_ACCESS_KEY": "secret/of+the+role"}
    raw = key_bytes(KEY)
    for leak in [KEY, raw.hex(), str(list(raw)), repr(raw), signature, "secret/of+the+role", "c3e1f0a9" * 8]:
        assert leaks(f'{{"result":"published","detail":"{leak}"}}', environment) != [], leak
    assert leaks('{"result":"published","webhookId":"msg_1"}', environment) == []
