"""`operate.sign` as a user calls it: a shell runs the curl command, and the function checks the signature."""

import json
import os
import subprocess
import sys

import pytest

from local.emulators import CHECKOUT, KEY

OTHER_KEY = "YW5vdGhlciBrZXkgb2YgUG9sbG8ncw=="
ODD = b'{"status":"failed",\n"taskId":"it\'s $HOME `id` \\\\ \\"\xc3\xa9","a":1.50}'


@pytest.mark.parametrize(
    ("options", "stdin", "status"),
    [
        ([], b"", 200),
        (["--status", "failed", "--task-id", 'a "b"', "--webhook-id", "msg'1"], b"", 200),
        (["--body", "-"], ODD, 200),
        (["--base64", "--body", "-"], ODD, 200),
        (["--body", "-"], b"\x00'\n", 422),
        (["--base64", "--body", "-"], b"\x00\xff'\n", 422),
        (["--tampered"], b"", 401),
        (["--forged"], b"", 401),
        (["--stale"], b"", 401),
    ],
)
def test_the_options_lead_to_the_expected_response(start, topic, queue, options, stdin, status):
    # The function has the second of the two keys that sign.
    function = start(SNS_TOPIC_ARN=topic)
    command = [sys.executable, "-m", "operate.sign", "curl", function.url, *options]
    environment = {**os.environ, "WEBHOOK_SECRET": f"{OTHER_KEY}\r\n whsec_{KEY}"}
    signed = subprocess.check_output(command, cwd=CHECKOUT, env=environment, input=stdin)
    printed = subprocess.check_output(["sh"], input=signed)
    assert printed.startswith(f"HTTP/1.1 {status} ".encode())
    messages = [body.encode() for body, _ in queue.take()]
    assert len(messages) == (status == 200)
    assert messages in [[], [stdin]] or not stdin
    assert json.loads(function.log())["httpStatus"] == status
