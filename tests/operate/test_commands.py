"""What the commands have in common: settings, errors, the confirmation, signals and exit statuses."""

import os
import pty
import signal
import subprocess

import pytest
from werkzeug import Response

from tests.operate.conftest import KEY, assert_is_clean, line

SENDING = ["smoke", "replay", "reconcile"]
every_command = pytest.mark.parametrize("command", [*SENDING, "listen"])
DENIED = "<E><Error><Code>AccessDenied</Code><Message>operator\x9b31m is not authorized</Message></Error></E>"


@pytest.fixture
def stack(stack):
    """A stack with something to replay."""
    stack.has_logged(line("not_published", "動画", body="{}"))
    return stack


def finished(process, **options):
    return subprocess.run(**process, **options, capture_output=True, timeout=60, check=False)


@every_command
def test_help_explains_the_command_and_its_settings(stack, command):
    process = stack.process(command)
    process["args"].append("--help")
    printed = " ".join(finished(process).stdout.split())
    assert f"make {command} STACK=pollo-webhook" in printed
    assert "[env var: STACK" in printed


@every_command
@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"STACK": "other"}, "There is no stack other in us-east-1; AWS_DEFAULT_REGION sets another region."),
        ({"STACK": "other", "AWS_DEFAULT_REGION": None, "AWS_REGION": "eu-west-1"}, "no stack other in eu-west-1;"),
        ({"STACK": "other", "AWS_REGION": "eu-west-1"}, "no stack other in us-east-1;"),
        ({"AWS_DEFAULT_REGION": None}, "No AWS region is set: set AWS_DEFAULT_REGION"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "AWS: Unable to locate credentials"),
        ({"AWS_PROFILE": "other"}, "AWS: The config profile (other) could not be found"),
        ({"AWS_ENDPOINT_URL_CLOUDFORMATION": "http://127.0.0.1:1"}, "AWS cannot be reached: "),
        ({"AWS_ENDPOINT_URL_CLOUDFORMATION": "DENIED"}, "the DescribeStacks operation: operator\\x9b31m is not"),
        ({"STACK": "incomplete"}, "(CREATE_COMPLETE) has no output WebhookUrl: it is not a deployed pollo-webhook."),
    ],
)
def test_a_stack_that_cannot_be_read_is_reported_in_one_line(stack, function, double, command, environment, sentence):
    if environment.get("STACK") == "incomplete":
        del stack.outputs["WebhookUrl"]
        environment = {}
    denied = double("/denied", lambda _: Response(DENIED, 403)).url
    settings = {name: denied if value == "DENIED" else value for name, value in environment.items()}
    printed = stack.run(command, exits=1, **settings)
    assert sentence in printed
    assert (len(printed.splitlines()), function.requests) == (1, [])


@pytest.mark.parametrize(
    ("commands", "environment", "sentence"),
    [
        (["replay", "reconcile", "listen"], {"STACK": ""}, "Missing option '--stack' (env var: 'STACK')"),
        (SENDING, {"WEBHOOK_SECRET": ""}, "WEBHOOK_SECRET is not set; expected the Base64 key from Pollo's"),
        (SENDING, {"WEBHOOK_SECRET": f"{KEY},a!bc"}, "WEBHOOK_SECRET: key 2 is not Base64; expected the Base64 key"),
        (SENDING, {"URL": "file:///etc/passwd"}, "(env var: 'URL'): this is not an http or https URL."),
        (["replay", "reconcile"], {"SINCE": "6h\n"}, "'6h\\n' is not a time; expected minutes, hours or days ago: 30m"),
        (["replay", "reconcile"], {"UNTIL": "0h"}, "'0h' is not a time"),
        (["reconcile"], {"TASKS": "no-such-file"}, "'no-such-file': No such file or directory"),
        (["reconcile"], {"POLLO_API_KEY": None}, "POLLO_API_KEY is not set to a key of Pollo's API."),
        (["reconcile"], {"POLLO_API_KEY": "a\nb"}, "POLLO_API_KEY is not set to a key of Pollo's API."),
        (["reconcile"], {"POLLO_API_URL": "http://127.0.0.1@pollo.ai/api/platform"}, "this is not an https URL."),
        (["listen"], {"FILTER": "{'status': 1}"}, "is not a filter policy; expected a JSON object with a list for"),
        (["listen"], {"FILTER": '["failed"]'}, "is not a filter policy"),
        (["listen"], {"FILTER": '{"status":"failed"}'}, "is not a filter policy"),
        (["listen"], {"FILTER": '{"status":[]}'}, "is not a filter policy"),
        (["listen"], {"FORWARD": "file:///etc/passwd"}, "this is not an http or https URL."),
        (["listen"], {"SAVE": "/dev/null/a"}, "'/dev/null/a' is not a folder: Not a directory."),
    ],
)
def test_an_invalid_setting_exits_with_2_before_anything_happens(stack, commands, environment, sentence):
    for command in commands:
        assert sentence in stack.run(command, exits=2, **environment)
        assert stack.cloudformation.requests == []


def test_a_window_that_ends_before_it_begins_is_an_error(stack):
    assert stack.run("replay", exits=2, SINCE="1h", UNTIL="2h").endswith("\nError: UNTIL is not after SINCE.\n")


def test_empty_variables_are_not_set(stack, function):
    stack.run("replay", **dict.fromkeys(["SINCE", "UNTIL", "DRY", "URL"], ""))
    assert len(function.requests) == 1


def test_without_a_terminal_or_yes_nothing_is_sent(stack, function):
    for command in ["smoke", "replay"]:
        printed = stack.run(command, exits=1, YES="0", stdin="y\n")
        assert "Nothing was sent: there is no terminal to ask on. Run it in one, or set YES=1." in printed
        assert function.requests == []


@pytest.mark.parametrize(("typed", "sent"), [("y", 1), ("n", 0), ("", 0), ("\x04", 0)])
def test_on_a_terminal_it_asks_before_it_sends(stack, function, typed, sent):
    ours, theirs = pty.openpty()
    os.write(ours, f"{typed}\n".encode())
    ran = finished(stack.process("replay", YES=None), stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert f"Send 1 of 1 to {function.url}? [y/N]: " in ran.stdout
    assert_is_clean(ran.stderr)
    assert (len(function.requests), ran.returncode) == (sent, 0 if sent else 1)


@every_command
def test_an_interrupt_while_boto3_is_imported_leaves_no_traceback(stack, tmp_path, command):
    (tmp_path / "boto3.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    environment = stack.process(command, PYTHONPATH=str(tmp_path))
    process = subprocess.Popen(**environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=60)[0], process.returncode) == ("\nAborted!\n", 1)


def test_without_packages_the_error_says_how_to_install_them(stack):
    process = stack.process("replay")
    process["args"].insert(1, "-S")
    ran = finished(process)
    assert (ran.returncode, ran.stderr) == (1, "click is missing: run this through make, which installs it\n")


def test_text_that_the_locale_cannot_show_is_escaped(stack):
    assert r"\u52d5\u753b" in finished(stack.process("replay", DRY="1", PYTHONIOENCODING="latin-1")).stdout
