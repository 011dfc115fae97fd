"""Compares outcome.schema.json with what the function publishes."""

import json

from jsonschema import Draft202012Validator

from local.emulators import CHECKOUT, KEY
from operate.pollo import Webhook
from tests.end_to_end.conftest import exchange

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
    json.loads(json.loads((CHECKOUT / "events" / "extra-fields.json").read_text())["body"]),
]


def test_the_function_publishes_exactly_the_bodies_that_the_schema_accepts(start, topic, queue):
    Draft202012Validator.check_schema(SCHEMA)
    function = start(SNS_TOPIC_ARN=topic)
    for body in BODIES:
        status, _ = exchange(function, Webhook(json.dumps(body).encode(), KEY))
        assert status == (200 if MESSAGE.is_valid(body) else 422), body
        for message, attributes in queue.take():
            assert (status, json.loads(message)) == (200, body)
            ATTRIBUTES.validate(attributes)
            assert {name: attributes[name] for name in ["taskId", "status"]}.items() <= body.items()
