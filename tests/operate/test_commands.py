"""What the commands have in common: settings, errors, the confirmation, signals and exit statuses."""

import json
import os
import pty
import signal
import subprocess

import pytest
from werkzeug import Response

from tests.operate.conftest import KEY, assert_is_clean, line, verifies

COMMANDS = ["smoke", "replay", "reconcile", "listen"]
SENDING = ["smoke", "replay", "reconcile"]
every_command = pytest.mark.parametrize("command", COMMANDS)
REPLAY_OR_SMOKE = pytest.mark.parametrize("command", ["smoke", "replay"])


@pytest.fixture
def stack(stack):
    """A stack with something to replay."""
    stack.has_logged(line("not_published", body="{}"))
    return stack


@every_command
def test_help_explains_the_command_and_its_settings(stack, command):
    ran = subprocess.run([*stack.process(command)["args"], "--help"], capture_output=True, text=True, check=True)
    assert f"make {command} STACK=pollo-webhook" in " ".join(ran.stdout.split())
    assert "[env var: STACK]" in ran.stdout


@every_command
@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"STACK": "other"}, "There is no stack other in us-east-1; AWS_DEFAULT_REGION sets another region."),
        ({"AWS_DEFAULT_REGION": None}, "No AWS region is set: set AWS_DEFAULT_REGION"),
        (
            {"STACK": "other", "AWS_DEFAULT_REGION": None, "AWS_REGION": "eu-west-1"},
            " in eu-west-1; AWS_DEFAULT_REGION sets another",
        ),
        ({"AWS_SECRET_ACCESS_KEY": None}, "There are no usable AWS credentials: "),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "There are no usable AWS credentials: "),
        ({"AWS_PROFILE": "other"}, "There are no usable AWS credentials: "),
        ({"AWS_ENDPOINT_URL_CLOUDFORMATION": "http://127.0.0.1:1"}, "AWS cannot be reached: "),
    ],
)
def test_a_stack_that_cannot_be_read_is_reported_in_one_sentence(stack, function, command, environment, sentence):
    status, printed = stack.run(command, YES="1", **environment)
    assert sentence in printed
    assert (status, len(printed.splitlines()), function.requests) == (1, 1, [])


@every_command
def test_a_stack_that_is_not_pollo_webhook_is_reported(stack, command):
    del stack.outputs["WebhookUrl"]
    status, printed = stack.run(command, YES="1")
    assert "(CREATE_COMPLETE) has no output WebhookUrl: it is not a deployed pollo-webhook." in printed
    assert status == 1


@every_command
@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("AccessDenied", "The AWS credentials lack a permission for DescribeStacks: User: operator\\x9b31m is not"),
        ("ExpiredToken", "AWS rejects the credentials (ExpiredToken): User: operator\\x9b31m is not authorized"),
        ("LimitExceeded", "AWS reports an error: An error occurred (LimitExceeded)"),
    ],
)
def test_errors_of_aws_are_printable_sentences(stack, double, command, code, sentence):
    # XML has no ESC, but the control character that means ESC and [.
    message = "User: operator\x9b31m is not authorized"
    error = f"<E><Error><Code>{code}</Code><Message>{message}</Message></Error></E>"
    denied = double("/denied", lambda _: Response(error, 400))
    status, printed = stack.run(command, YES="1", AWS_ENDPOINT_URL_CLOUDFORMATION=denied.url)
    assert printed.startswith(sentence)
    assert (status, len(printed.splitlines())) == (1, 1)


@pytest.mark.parametrize(
    ("commands", "environment", "sentence"),
    [
        (["replay", "reconcile", "listen"], {"STACK": None}, "STACK is not set: make {} STACK=pollo-webhook"),
        (["replay", "reconcile", "listen"], {"STACK": ""}, "STACK is not set: make {} STACK=pollo-webhook"),
        (SENDING, {"WEBHOOK_SECRET": ""}, "WEBHOOK_SECRET is not set; expected the Base64 key from Pollo's"),
        (SENDING, {"WEBHOOK_SECRET": "a!bc"}, "WEBHOOK_SECRET: key 1 is not Base64; expected the Base64 key"),
        (SENDING, {"WEBHOOK_SECRET": f"{KEY},"}, "WEBHOOK_SECRET: key 2 is empty; expected the Base64 key"),
        (SENDING, {"YES": "perhaps"}, "'perhaps' is not a valid boolean"),
        (SENDING, {"URL": "example.com"}, "(env var: 'URL'): this is not an http or https URL."),
        (["replay", "reconcile"], {"SINCE": "6"}, "'6' is not a time; expected 30m, 6h or 3d ago, or a date such as"),
        (["replay", "reconcile"], {"UNTIL": "0h"}, "'0h' is not a time"),
        (["replay"], {"SINCE": "6h\n"}, "'6h\\n' is not a time"),
        (["reconcile"], {"TASKS": "no-such-file"}, "'no-such-file': No such file or directory"),
        (["reconcile"], {"POLLO_API_KEY": None}, "POLLO_API_KEY is not set; expected the key of Pollo's API."),
        (["reconcile"], {"POLLO_API_KEY": "a\nb"}, "POLLO_API_KEY has characters that no key of Pollo's API has."),
        (["reconcile"], {"POLLO_API_URL": "http://pollo.ai/api/platform"}, "this is not an https URL."),
        (["listen"], {"FILTER": "{'status': 1}"}, "is not a filter policy; expected a JSON object with a list for"),
        (["listen"], {"FILTER": '["failed"]'}, "is not a filter policy"),
        (["listen"], {"FILTER": '{"status":"failed"}'}, "is not a filter policy"),
        (["listen"], {"FILTER": '{"status":[]}'}, "is not a filter policy"),
        (["listen"], {"FORWARD": "file:///etc/passwd"}, "this is not an http or https URL."),
        (["listen"], {"SAVE": "/dev/null/a"}, "'/dev/null/a' is not a folder: Not a directory."),
    ],
)
def test_an_invalid_setting_exits_with_2_before_anything_happens(stack, double, commands, environment, sentence):
    cloudformation = double("/broken", lambda _: Response("", 500))
    for command in commands:
        settings = {"YES": "1", "AWS_ENDPOINT_URL_CLOUDFORMATION": cloudformation.url, **environment}
        status, printed = stack.run(command, **settings)
        assert sentence.format(command) in printed
        assert (status, cloudformation.requests) == (2, [])


def test_empty_variables_are_not_set(stack, function):
    empty = dict.fromkeys(["SINCE", "UNTIL", "DRY", "URL", "TASKS", "FILTER"], "")
    assert stack.run("replay", YES="1", **empty)[0] == 0
    assert len(function.requests) == 1


@REPLAY_OR_SMOKE
def test_without_a_terminal_or_yes_nothing_is_sent(stack, function, command):
    status, printed = stack.run(command, YES="", stdin="y\n")
    assert "Nothing was sent: there is no terminal to ask on. Run it in one, or set YES=1." in printed
    assert (status, function.requests) == (1, [])


@pytest.mark.parametrize(("typed", "sent"), [("y", 1), ("n", 0), ("", 0), ("\x04", 0)])
def test_on_a_terminal_it_asks_before_it_sends(stack, function, typed, sent):
    ours, theirs = pty.openpty()
    os.write(ours, f"{typed}\n".encode())
    ran = subprocess.run(**stack.process("replay"), stdin=theirs, capture_output=True, timeout=60, check=False)
    os.close(ours)
    os.close(theirs)
    assert f"Send 1 of 1 to {function.url}? [y/N]: " in ran.stdout
    assert_is_clean(ran.stderr)
    assert (len(function.requests), ran.returncode) == (sent, 0 if sent else 1)


@every_command
def test_an_interrupt_while_boto3_is_imported_leaves_no_traceback(stack, tmp_path, command):
    (tmp_path / "boto3.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        **stack.process(command, PYTHONPATH=str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "\nAborted!\n"
    assert process.returncode == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_without_packages_the_error_says_how_to_install_them(stack, tmp_path, command):
    process = stack.process(command)
    # -S hides installed packages.
    process["args"].insert(1, "-S")
    ran = subprocess.run(**process, capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (1, "click is missing: run this through make, which installs it\n")
    (tmp_path / "boto3.py").write_text("raise ImportError\n")
    ran = subprocess.run(
        **stack.process(command, PYTHONPATH=str(tmp_path)), capture_output=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (1, "boto3 is missing: run this through make, which installs it\n")


def test_an_interrupted_replay_exits_with_1(stack, function):
    def interrupts(request):
        process.send_signal(signal.SIGINT)
        return verifies(request)

    function.respond = interrupts
    process = subprocess.Popen(
        **stack.process("replay", YES="1"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    printed, _ = process.communicate(timeout=60)
    assert_is_clean(printed)
    assert (process.returncode, printed.splitlines()[-1]) == (1, "Aborted!")


def test_a_closed_pipe_ends_it_without_a_message(stack):
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        **stack.process("replay", DRY="1"), stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (1, "")


def test_text_that_the_locale_cannot_show_is_escaped(stack):
    stack.has_logged(line("not_published", "動画", body="{}"))
    process = stack.process("replay", DRY="1", PYTHONIOENCODING="latin-1")
    ran = subprocess.run(**process, capture_output=True, timeout=60, check=True)
    assert json.dumps("動画").strip('"') in ran.stdout
