"""Compares outcome.schema.json with what the function publishes."""

import base64
import json

from jsonschema import Draft202012Validator

from local.emulators import CHECKOUT, KEY
from operate.pollo import Webhook
from tests.end_to_end.exchange import exchange

SCHEMA = json.loads((CHECKOUT / "outcome.schema.json").read_text())
MESSAGE = Draft202012Validator(SCHEMA)
ATTRIBUTES = Draft202012Validator({"$ref": "#/$defs/attributes", "$defs": SCHEMA["$defs"]})

TASK_IDS = [
    *["t", " ", 'a"b\\', "動画-🎬", "t" * 256, "é" * 128, "\ufffd", "\xa0"],
    *["", "t" * 257, "a\n", "\t", "a\0", "\x1f", "\x7f", "\x80", "\x9f", "\ufffe", "\uffff"],
    *[None, 1, True, ["t"], {}],
]
STATUSES = ["failed", "", "success", "Succeed", "succeed ", "succeed\n", None, 1, ["failed"]]
BODIES = [
    *[{"taskId": task_id, "status": "succeed"} for task_id in TASK_IDS],
    *[{"taskId": "t", "status": status} for status in STATUSES],
    *[{"taskId": "t"}, {"status": "failed"}, {}, [], None, "t", 1],
    *[{"taskId": "t", "status": "failed", name: [1]} for name in ["credit", "generations", "failMsg", ""]],
]


def test_the_schema_is_valid_and_accepts_each_sample_event_that_is_an_outcome():
    Draft202012Validator.check_schema(SCHEMA)
    for file, expected in json.loads((CHECKOUT / "events" / "expected.json").read_text()).items():
        event = json.loads((CHECKOUT / "events" / file).read_text())
        body = event.get("body", "null")
        body = json.loads(base64.b64decode(body) if event["isBase64Encoded"] else body)
        accepted = expected["log"]["result"] not in {"not_an_outcome", "method_not_allowed"}
        assert MESSAGE.is_valid(body) == accepted, file


def test_the_function_publishes_exactly_the_bodies_that_the_schema_accepts(start, topic, queue):
    function = start(SNS_TOPIC_ARN=topic)
    for body in BODIES:
        status, _, _ = exchange(function, Webhook(json.dumps(body).encode(), KEY))
        assert status == (200 if MESSAGE.is_valid(body) else 422), body
        for message, attributes in queue.take():
            assert (status, json.loads(message)) == (200, body)
            ATTRIBUTES.validate(attributes)
            assert {name: attributes[name] for name in ["taskId", "status"]}.items() <= body.items()
