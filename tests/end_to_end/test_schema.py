"""Compares outcome.schema.json with what the function publishes."""

import base64
import json

import pytest
from jsonschema import Draft202012Validator

from local.emulators import CHECKOUT, KEY
from operate.pollo import Webhook

SCHEMA = json.loads((CHECKOUT / "outcome.schema.json").read_text())
SAMPLES = json.loads((CHECKOUT / "events" / "expected.json").read_text())

MESSAGE = Draft202012Validator(SCHEMA)
ATTRIBUTES, REPORTED = [
    Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]}) for name in ["attributes", "reported"]
]

TASK_IDS = [
    *["t", " ", "a b", 'a"b\\', "動画-🎬", "t" * 256, "é" * 128, "\ufffd", "\xa0"],
    *["", "t" * 257, "a\n", "\n", "\t", "a\0", "\x1f", "\x7f", "\x80", "\x9f", "\ufffe", "\uffff"],
    *[None, 1, True, ["t"], {}],
]
BODIES = [
    *[{"taskId": task_id, "status": "succeed"} for task_id in TASK_IDS],
    *[
        {"taskId": "t", "status": status}
        for status in ["failed", "", "success", "Succeed", "succeed ", "succeed\n", None, 1, ["failed"]]
    ],
    *[{"taskId": "t"}, {"status": "failed"}, {}, [], None, "t", 1],
    *[
        {"taskId": "t", "status": "failed", name: value}
        for name in ["credit", "generations", "failMsg", ""]
        for value in [None, "1", 1, [1], {}]
    ],
]


def sample(file):
    """The body of a sample event."""
    event = json.loads((CHECKOUT / "events" / file).read_text())
    return json.loads(base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"])


@pytest.fixture
def publish(start, topic, queue):
    """Sends an event with this body and these headers. Returns the message and its attributes, or None if nothing is
    published."""
    function = start(SNS_TOPIC_ARN=topic, WEBHOOK_TOLERANCE_SECONDS="0")
    event = json.loads((CHECKOUT / "events" / "succeed.json").read_text())

    def publish(body, **headers):
        webhook = Webhook(body.encode(), KEY, **headers)
        event["body"] = body
        event["headers"] = {name.lower(): value for name, value in webhook.headers().items()}
        status = json.loads(function.invoke(json.dumps(event).encode())[2])["statusCode"]
        assert json.loads(function.log())["httpStatus"] == status
        messages = queue.take()
        assert len(messages) == (1 if status == 200 else 0), status
        return messages[0] if messages else None

    return publish


def test_the_schema_is_valid():
    Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_accepts_each_sample_event_that_is_an_outcome():
    del SAMPLES["get.json"]
    for file, expected in SAMPLES.items():
        assert MESSAGE.is_valid(sample(file)) == (expected["log"]["result"] != "not_an_outcome"), file


def test_the_schema_checks_the_types_of_the_reported_fields():
    REPORTED.validate(sample("extra-fields.json"))
    assert not REPORTED.is_valid({"credit": "30"})
    assert set(sample("extra-fields.json")["generations"][0]) <= set(
        SCHEMA["$defs"]["reported"]["properties"]["generations"]["items"]["properties"]
    )


def test_the_function_publishes_exactly_the_bodies_that_the_schema_accepts(publish):
    for body in BODIES:
        published = publish(json.dumps(body))
        assert (published is not None) == MESSAGE.is_valid(body), body
        if published:
            message, attributes = published
            assert json.loads(message) == body
            ATTRIBUTES.validate(attributes)
            assert {name: attributes[name] for name in ["taskId", "status"]} == {
                name: body[name] for name in ["taskId", "status"]
            }


def test_the_function_limits_a_task_id_in_bytes_and_the_schema_in_characters(publish):
    body = {"taskId": "é" * 129, "status": "succeed"}
    assert MESSAGE.is_valid(body)
    assert publish(json.dumps(body)) is None


@pytest.mark.parametrize("header", ["id", "timestamp"])
def test_the_function_publishes_exactly_the_headers_that_the_schema_accepts(publish, header):
    attribute = {"id": "webhookId", "timestamp": "webhookTimestamp"}[header]
    valid = {"status": "failed", "taskId": "t", "webhookId": "msg_1", "webhookTimestamp": "1767225600"}
    for value in ["1", " é", "t" * 1_000, "", "\x80", "\ufffe"]:
        published = publish(
            '{"taskId":"t","status":"failed"}', **{"id": "msg_1", "timestamp": "1767225600", header: value}
        )
        expected = {**valid, attribute: value}
        assert (published is not None) == ATTRIBUTES.is_valid(expected), value
        assert published is None or published[1] == expected
