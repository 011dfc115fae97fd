"""The common behaviour of `make replay` and `make smoke`: settings, the confirmation, and exit statuses."""

import os
import pty
import signal
import subprocess
import threading

import pytest

from tests.operate.conftest import KEY, assert_shows_no_secret_or_traceback
from tests.operate.test_unpublished import line


@pytest.fixture
def stack(stack):
    """A stack with something to replay."""
    stack.has_logged(line("not_published", body="{}"))
    return stack


@pytest.mark.parametrize("command", ["replay", "smoke"])
def test_without_a_terminal_or_yes_nothing_is_sent(stack, function, command):
    status, printed = stack.run(command)
    assert "there is no terminal to ask on. Run it in one, or set YES=1." in printed
    assert (status, function.requests) == (1, [])


@pytest.mark.parametrize(("typed", "sent"), [("y", 1), ("yes", 1), ("n", 0), ("", 0), ("\x04", 0)])
def test_on_a_terminal_it_asks_before_it_sends(stack, function, typed, sent):
    ours, theirs = pty.openpty()
    os.write(ours, f"{typed}\n".encode())
    ran = subprocess.run(**stack.process("replay"), stdin=theirs, capture_output=True, timeout=60, check=False)
    os.close(ours)
    os.close(theirs)
    assert f"Send 1 of 1 to {function.url}? [y/N] " in ran.stdout
    assert ("Nothing was sent." in ran.stderr) == (not sent)
    assert (len(function.requests), ran.returncode) == (sent, 0 if sent else 1)


@pytest.mark.parametrize("command", ["listen", "replay", "smoke"])
def test_an_interrupt_during_the_imports_leaves_no_traceback(stack, tmp_path, command):
    (tmp_path / "boto3.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        **stack.process(command, PYTHONPATH=str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == ""
    assert process.returncode == -signal.SIGINT


def test_an_interrupt_prints_interrupted_and_exits_with_130(stack, function):
    asked, finished = threading.Event(), threading.Event()

    def hang(_):
        asked.set()
        finished.wait(60)
        return 503, b""

    function.respond = hang
    process = subprocess.Popen(
        **stack.process("replay", YES="1"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert asked.wait(60)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    finished.set()
    assert_shows_no_secret_or_traceback(printed)
    assert printed.endswith("\nInterrupted.\n")
    assert process.returncode == 130


def test_a_closed_pipe_ends_it_without_a_message(stack):
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        **stack.process("replay", DRY="1"), stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (1, "")


@pytest.mark.parametrize(
    ("command", "environment", "sentence"),
    [
        ("smoke", {"STACK": None}, "Neither STACK nor URL is set: make smoke STACK=pollo-webhook, or URL=https://…"),
        ("smoke", {"STACK": None, "URL": "http://127.0.0.1:1/"}, "http://127.0.0.1:1/ cannot be reached: "),
        ("smoke", {"WEBHOOK_SECRET": ""}, "WEBHOOK_SECRET is not set; expected the Base64 key"),
        ("replay", {"STACK": None}, "STACK is not set: make replay STACK=pollo-webhook"),
        ("replay", {"STACK": "other"}, "There is no stack other in us-east-1; AWS_DEFAULT_REGION sets another region."),
        ("replay", {"WEBHOOK_SECRET": None}, "WEBHOOK_SECRET is not set; expected the Base64 key"),
        ("replay", {"WEBHOOK_SECRET": "a!bc"}, "WEBHOOK_SECRET: key 1 is not Base64; expected the Base64 key"),
        ("replay", {"WEBHOOK_SECRET": f"{KEY},"}, "WEBHOOK_SECRET: key 2 is empty; expected the Base64 key"),
        (
            "replay",
            {"SINCE": "6"},
            "SINCE='6' is not a time; expected a number of minutes, hours or days: 30m, 6h, 3d.",
        ),
        ("replay", {"SINCE": "0h"}, "SINCE='0h' is not a time"),
        ("replay", {"SINCE": "6h\n"}, "SINCE='6h\\n' is not a time"),
        ("replay", {"YES": "y"}, "YES='y' is not a switch; expected YES=1 or nothing."),
        ("replay", {"DRY": "true"}, "DRY='true' is not a switch; expected DRY=1 or nothing."),
        ("replay", {"URL": "example.com"}, "URL is not an http or https URL"),
        ("replay", {"AWS_DEFAULT_REGION": None}, "No AWS region is set: set AWS_DEFAULT_REGION"),
        ("replay", {"AWS_SECRET_ACCESS_KEY": None}, "There are no usable AWS credentials: "),
        ("replay", {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "There are no usable AWS credentials: "),
        ("replay", {"AWS_PROFILE": "other"}, "There are no usable AWS credentials: "),
        ("replay", {"AWS_ENDPOINT_URL_CLOUDFORMATION": "http://127.0.0.1:1"}, "AWS cannot be reached: "),
    ],
)
def test_an_invalid_setting_is_reported_in_one_sentence(stack, function, command, environment, sentence):
    status, printed = stack.run(command, **{"YES": "1", **environment})
    assert sentence in printed.splitlines()[-1]
    assert command == "smoke" or len(printed.splitlines()) == 1
    assert (status, function.requests) == (1, [])


def test_without_boto3_the_error_says_how_to_install_it(stack):
    command = stack.process("replay")
    # -S hides installed packages.
    command["args"].insert(1, "-S")
    ran = subprocess.run(**command, capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (1, "boto3 is missing: run this through make, which installs it\n")
