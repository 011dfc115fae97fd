"""`operate.sign` as a user calls it: a shell runs the curl command, and the function checks the signature."""

import json
import os
import subprocess
import sys

import pytest

from local.emulators import CHECKOUT, KEY

OTHER_KEY = "YW5vdGhlciBrZXkgb2YgUG9sbG8ncw=="
ODD = b'{"status":"failed",\n"taskId":"it\'s $HOME `id` \\\\ \\"\xc3\xa9","a":1.50}'


def sign(*options, stdin=b"", secret=KEY):
    command = [sys.executable, "-m", "operate.sign", "curl", *options]
    environment = {**os.environ, "WEBHOOK_SECRET": secret}
    return subprocess.run(command, cwd=CHECKOUT, env=environment, input=stdin, capture_output=True, check=False)


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
    signed = sign(function.url, *options, stdin=stdin, secret=f"{OTHER_KEY}\r\n whsec_{KEY}")
    assert (signed.returncode, signed.stderr) == (0, b"")
    printed = subprocess.run(["sh"], input=signed.stdout, stdout=subprocess.PIPE, check=True).stdout
    assert printed.startswith(f"HTTP/1.1 {status} ".encode())
    messages = [body.encode() for body, _ in queue.take()]
    assert len(messages) == (status == 200)
    assert messages in [[], [stdin]] or not stdin
    assert json.loads(function.log())["httpStatus"] == status


@pytest.mark.parametrize(
    ("options", "secret", "sentence"),
    [
        ([], "", "WEBHOOK_SECRET is not set; expected "),
        ([], "c2hvcnQ=", "WEBHOOK_SECRET: key 1 has 5 bytes; at least 16 are needed; expected "),
        (["--body", "no-such-file"], KEY, "no-such-file: No such file or directory."),
        (["--body", "-"], KEY, "The body is not UTF-8: add --base64."),
    ],
)
def test_each_error_is_one_sentence(options, secret, sentence):
    signed = sign("http://127.0.0.1:9/", *options, stdin=b"\xff", secret=secret)
    assert (signed.returncode, signed.stdout, signed.stderr.count(b"\n")) == (1, b"", 1)
    assert signed.stderr.decode().startswith(sentence)
