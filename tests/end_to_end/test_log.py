"""What the function writes: a line for each request, which the template's metrics count, and no secret."""

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

GONE = "arn:aws:sns:us-east-1:123456789012:gone"


def event(name):
    return json.loads((CHECKOUT / "events" / name).read_text())


class Template(yaml.SafeLoader):
    """Reads the template without CloudFormation's functions."""


Template.add_multi_constructor("!", lambda *_: None)


def metrics():
    """The template's metrics by name, each with its terms: a line is counted if one of them holds."""
    found = {}
    template = yaml.load((CHECKOUT / "template.yaml").read_text(), Template)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Logs::MetricFilter":
            pattern = " ".join(resource["Properties"]["FilterPattern"].split())
            terms = re.findall(r'\$\.(\w+) (=|>=) ("\w+"|\d+)', pattern)
            # Nothing else is in it.
            assert pattern == "{ " + " || ".join(f"$.{' '.join(term)}" for term in terms) + " }"
            [transformation] = resource["Properties"]["MetricTransformations"]
            found[transformation["MetricName"]] = terms
    return found


def counts(terms, line):
    for field, operator, operand in terms:
        value, operand = line.get(field), json.loads(operand)
        if value == operand if operator == "=" else isinstance(value, int | float) and value >= operand:
            return True
    return False


def test_each_line_is_counted_by_the_metrics_that_are_meant_for_it(start, topic, queue):
    function = start(SNS_TOPIC_ARN=topic)
    unreadable = event("succeed.json")
    unreadable["headers"]["x-webhook-id"] = "\ufffe"
    # What SNS can take, without room for the attributes.
    too_large = SUCCESS.ljust(1_048_576)
    late = str(int(time.time()) - 600)
    patterns, seen = metrics(), set()
    for send, result, expected in [
        (lambda: function.send(Webhook(SUCCESS, KEY)), "published", ["Published", "SnsMilliseconds"]),
        (lambda: function.send(Webhook(SUCCESS, KEY, id="")), "header_missing", ["Unverified"]),
        (lambda: function.invoke(json.dumps(unreadable)), "header_unreadable", ["Unverified"]),
        (lambda: function.send(Webhook(SUCCESS, NOBODYS_KEY)), "signature_mismatch", ["Unverified"]),
        (lambda: function.send(Webhook(too_large, NOBODYS_KEY)), "signature_mismatch", ["Unverified"]),
        (lambda: function.send(Webhook(SUCCESS, KEY, timestamp="soon")), "timestamp_unreadable", ["AuthenticRejected"]),
        (
            lambda: function.send(Webhook(SUCCESS, KEY, timestamp=late)),
            "timestamp_outside_tolerance",
            ["AuthenticRejected"],
        ),
        (lambda: function.send(Webhook(too_large, KEY)), "too_large", ["AuthenticRejected"]),
        (lambda: function.send(Webhook(b"[]", KEY)), "not_an_outcome", ["AuthenticRejected"]),
        (lambda: function.request("GET"), "method_not_allowed", []),
    ]:
        send()
        line = json.loads(function.log())
        assert line["result"] == result
        assert sorted(name for name, terms in patterns.items() if counts(terms, line)) == expected, result
        seen |= set(expected)
    function = start(SNS_TOPIC_ARN=GONE)
    line = exchange(function, Webhook(SUCCESS, KEY))[2]
    assert sorted(name for name, terms in patterns.items() if counts(terms, line)) == [
        "NotPublished",
        "SnsMilliseconds",
    ]
    # No metric is left that nothing was meant for.
    assert seen | {"NotPublished", "SnsMilliseconds"} == set(patterns)
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
def test_a_wrong_setting_stops_the_start_with_one_line_that_names_it(start, binary, variable, value):
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


def test_a_panic_on_one_event_ends_neither_the_process_nor_in_silence(start, topic, queue):
    function = start(SNS_TOPIC_ARN=topic)
    # Not Base64: a dependency panics on it, before any code of ours.
    status, _, body = function.invoke(json.dumps({**event("base64-body.json"), "body": "p4ss word%"}))
    assert status != 200
    text = function.log()
    line = json.loads(text)
    assert (line["level"], line["result"]) == ("ERROR", "panic")
    assert re.search(r"\.rs:\d+:\d+$", line["location"])
    assert REQUEST_ID.fullmatch(line["requestId"])
    assert "p4ss" not in body + text
    assert exchange(function, Webhook(SUCCESS, KEY))[0] == 200
    assert function.process.poll() is None
    assert len(queue.take()) == 1


def test_an_event_that_is_not_a_request_leaves_one_line_that_does_not_repeat_it(start, topic, queue):
    function = start(SNS_TOPIC_ARN=topic)
    broken = event("succeed.json")
    broken["headers"]["x-webhook-id"] = "p4ss\nword"
    for broken_event in [broken, {}, "p4ss"]:
        status, _, body = function.invoke(json.dumps(broken_event))
        assert status != 200
        text = function.log()
        assert "p4ss" not in body + text
        assert json.loads(text)["level"] == "ERROR"
    assert exchange(function, Webhook(SUCCESS, KEY))[0] == 200
    assert len(queue.take()) == 1


def test_a_key_or_a_signature_that_is_written_would_be_seen():
    signature = Webhook(SUCCESS, KEY).headers()["X-Webhook-Signature"]
    environment = {"WEBHOOK_SECRET": f"{NOBODYS_KEY},{KEY}", "AWS_SECRET_ACCESS_KEY": "secret/of+the+role"}
    raw = key_bytes(KEY)
    for leak in [KEY, raw.hex(), str(list(raw)), repr(raw), signature, "secret/of+the+role", "c3e1f0a9" * 8]:
        assert leaks(f'{{"result":"published","detail":"{leak}"}}', environment) != [], leak
    assert leaks('{"result":"published","webhookId":"msg_1"}', environment) == []
