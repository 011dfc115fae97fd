"""Keys and signatures of operate/pollo.py. The function is tested with the same tables."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from local.emulators import CHECKOUT
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


SIGN = "import runpy, sys\nsys.version_info = {}\nsys.argv = ['sign', 'curl', 'http://127.0.0.1:9/']\nrunpy.run_module('operate.sign', run_name='__main__')\n"


@pytest.mark.parametrize(
    ("version", "printed"),
    [
        ((3, 10, 13), "Python 3.11 or newer is required; this is Python 3.10.\n"),
        ((3, 11, 0), "WEBHOOK_SECRET is not set; expected the Base64 key from Pollo's webhook page, or several"),
    ],
)
def test_sign_needs_no_packages_and_says_which_python_it_needs(version, printed):
    # -I and -S hide the environment and installed packages.
    script = f"import sys\nsys.path.insert(0, {str(CHECKOUT)!r})\n{SIGN.format(version)}"
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], env={}, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(printed)


@pytest.mark.parametrize("module", ["__init__", "pollo", "sign"])
def test_sign_is_parsed_by_older_pythons(module):
    ast.parse((CHECKOUT / "operate" / f"{module}.py").read_text(), feature_version=(3, 7))
