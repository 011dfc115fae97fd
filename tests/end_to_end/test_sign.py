"""`operate.sign` as a user calls it. The function checks the signatures, and a shell parses the curl command."""

import json
import os
import subprocess
import sys

import pytest

from local.emulators import CHECKOUT, KEY

OTHER_KEY = "YW5vdGhlciBrZXkgb2YgUG9sbG8ncw=="
EXPECTED = "expected the Base64 key from Pollo's webhook page, or several separated by commas or white space."
ODD = '{"status":"failed",\n"taskId":"it\'s $HOME `id` \\\\ \\"é","a":1.50}'
# Prints the arguments and the input of curl.
CURL = r"""curl() { printf '%s\0' "$@"; case "$*" in *@-) cat ;; esac; }"""


def sign(*options, stdin=b"", secret=KEY):
    environment = {**os.environ, "WEBHOOK_SECRET": secret}
    command = [sys.executable, "-m", "operate.sign", *options]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, input=stdin, capture_output=True, check=False)


def sent_by_curl(command):
    """The headers and the body that curl would send."""
    printed = subprocess.run(["sh", "-c", CURL.encode() + b"\n" + command], stdout=subprocess.PIPE, check=True).stdout
    words, stdin, piped = printed.partition(b"\0@-\0")
    words = words.split(b"\0")
    headers = dict(words[i + 1].decode().split(": ", 1) for i, word in enumerate(words) if word == b"-H")
    return headers, piped if stdin else words[words.index(b"--data-raw") + 1]


@pytest.mark.parametrize(
    ("options", "stdin", "status"),
    [
        ([], "", 200),
        (["--status", "failed", "--task-id", 'a "b"'], "", 200),
        (["--base64", "--webhook-id", "msg'1"], "", 200),
        (["--body", "-"], ODD, 200),
        (["--base64", "--body", "-"], ODD, 200),
        (["--body", "-"], "{}", 422),
        (["--tampered"], "", 401),
        (["--forged"], "", 401),
        (["--stale"], "", 401),
    ],
)
def test_the_options_lead_to_the_expected_response(start, topic, queue, options, stdin, status):
    function = start(SNS_TOPIC_ARN=topic)
    signed = sign("curl", function.url, *options, stdin=stdin.encode())
    assert (signed.returncode, signed.stderr) == (0, b"")
    headers, body = sent_by_curl(signed.stdout)
    assert function.request("POST", body, headers)[0] == status
    messages = [body for body, _ in queue.take()]
    assert len(messages) == (status == 200)
    assert not (stdin and messages) or messages == [stdin]
    assert json.loads(function.log())["httpStatus"] == status


def test_each_key_adds_a_signature(start, topic):
    headers, body = sent_by_curl(sign("curl", "http://127.0.0.1:9/", secret=f"{OTHER_KEY}\r\n whsec_{KEY}").stdout)
    for key in [OTHER_KEY, KEY]:
        function = start(SNS_TOPIC_ARN=topic, WEBHOOK_SECRET=key)
        assert function.request("POST", body, headers)[0] == 200
        assert json.loads(function.log())["result"] == "published"


@pytest.mark.parametrize("options", [["--base64"], []])
def test_a_body_that_a_shell_cannot_pass_as_an_argument_is_piped_into_curl(options):
    body = b"\x00\xff'\n" if options else b"\x00'\n"
    assert sent_by_curl(sign("curl", "http://127.0.0.1:9/", "--body", "-", *options, stdin=body).stdout)[1] == body


@pytest.mark.parametrize(
    ("options", "secret", "sentence"),
    [
        ([], "", f"WEBHOOK_SECRET is not set; {EXPECTED}\n"),
        ([], "c2hvcnQ=", f"WEBHOOK_SECRET: key 1 has 5 bytes; at least 16 are needed; {EXPECTED}\n"),
        (["--body", "no-such-file"], KEY, "no-such-file: No such file or directory.\n"),
        (["--body", "-"], KEY, "The body is not UTF-8: add --base64.\n"),
    ],
)
def test_each_error_is_one_sentence(options, secret, sentence):
    signed = sign("curl", "http://127.0.0.1:9/", *options, stdin=b"\xff", secret=secret)
    assert (signed.returncode, signed.stdout, signed.stderr.decode()) == (1, b"", sentence)
