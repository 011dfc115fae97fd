"""Keys and signatures of operate/pollo.py. The function is tested with the same tables."""

import json
from pathlib import Path

import pytest

from operate.pollo import InvalidKey, Webhook, key_texts, read_keys

VECTORS = Path(__file__).parents[1] / "vectors"


def read(name):
    return json.loads((VECTORS / name).read_text())["vectors"]


@pytest.mark.parametrize("vector", read("keys.json"), ids=lambda vector: vector["case"])
def test_reads_keys_as_in_the_table(vector):
    try:
        result = {"keys": [key.hex() for key in read_keys(vector["text"])]}
    except InvalidKey as error:
        result = {"error": str(error)}
    assert result == {name: vector[name] for name in ["keys", "error"] if name in vector}


@pytest.mark.parametrize(
    "vector", read("pollo.json") + read("standard-webhooks.json"), ids=lambda vector: vector["case"]
)
def test_signs_as_the_published_samples(vector):
    [key] = key_texts(vector["key"])
    webhook = Webhook(vector["body"].encode(), key, vector["id"], vector["timestamp"])
    assert webhook.headers()["X-Webhook-Signature"] == vector["signature"].removeprefix("v1,")
