"""`make demo` and `make local`, without make."""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from local import demo
from local.emulators import ADDRESS, CHECKOUT, KEY, PATIENCE, Emulator, Sns, free_port, started
from operate.function_url import post
from operate.pollo import Webhook

OWN_KEY = "bXkgb3duIGtleSBmcm9tIFBvbGxv"
LINE = '{"level":"WARN","result":"signature_mismatch","httpStatus":401,"webhookId":"msg_\\u001b[1m"}'


def command(*options, **environment):
    """The arguments of a process that runs the demo."""
    names = ["LAMBDA_PORT", "SNS_PORT", "WEBHOOK_SECRET", "WEBHOOK_TOLERANCE_SECONDS"]
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    return {
        "args": [sys.executable, "-m", "local.demo", *options],
        "cwd": CHECKOUT,
        "env": {**inherited, **environment},
        "text": True,
    }


def rejected(**environment):
    """What `make local` prints if it exits before the build."""
    ran = subprocess.run(
        **command("--stay", PATH="", **environment), capture_output=True, check=False, timeout=PATIENCE
    )
    assert (ran.stdout, ran.returncode) == ("", 1)
    return ran.stderr


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("WEBHOOK_TOLERANCE_SECONDS", "abc", "='abc' is not a whole number; expected seconds"),
        ("WEBHOOK_SECRET", "changeme", ": key 1 has 6 bytes; at least 16 are needed"),
        ("LAMBDA_PORT", "9OOO", "='9OOO' is not a port"),
        ("SNS_PORT", "65536", "='65536' is not a port"),
    ],
)
def test_an_invalid_setting_is_reported_before_the_build(name, value, problem):
    assert rejected(**{"LAMBDA_PORT": "29000", "SNS_PORT": "24100", name: value}).startswith(f"{name}{problem}")


def test_ports_in_use_are_reported_before_the_build():
    with socket.create_server((ADDRESS, 0)) as one, socket.create_server((ADDRESS, 0)) as two:
        first, second = [server.getsockname()[1] for server in [one, two]]
        said = rejected(LAMBDA_PORT=str(first), SNS_PORT=str(second))
    reason = "(Address already in use)"
    assert said.startswith(f"LAMBDA_PORT={first} {reason} and SNS_PORT={second} {reason} cannot be used: stop ")


def test_an_interrupt_during_the_start_prints_no_traceback():
    run = subprocess.Popen(**command(PYTHONPROFILEIMPORTTIME="1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with run:
        for line in run.stderr:
            if "botocore" in line:
                break
        run.send_signal(signal.SIGINT)
        assert "Traceback" not in run.stderr.read()
    assert run.returncode == -signal.SIGINT


def test_a_log_line_is_printed_unchanged(capsys):
    demo.show_line(LINE)
    assert capsys.readouterr().out == f"   logged       {LINE}\n"


@pytest.mark.parametrize(("result", "colour"), [("published", demo.GREEN), ("signature_mismatch", demo.RED)])
def test_a_terminal_shows_the_result_in_colour_and_the_fields(capsys, monkeypatch, result, colour):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    demo.show_line(LINE.replace("signature_mismatch", result))
    assert capsys.readouterr().out.splitlines() == [
        f"   logged       {colour}{result}{demo.DEFAULT_COLOUR}",
        "                level=WARN  httpStatus=401  webhookId='msg_\\x1b[1m'",
    ]


class Run:
    def __init__(self, ports):
        self.ports, self.lines, self.shown = ports, queue.Queue(), ""
        self.url = f"http://{ADDRESS}:{ports['LAMBDA_PORT']}/"

    def read_until(self, enough):
        """Reads until `enough` accepts the text. Returns the text."""
        shown = ""
        while not enough(shown):
            shown += self.lines.get(timeout=PATIENCE) + "\n"
        self.shown += shown
        return shown

    def status(self, *webhook, path=""):
        signed = Webhook(demo.SUCCESS, *webhook)
        return post(self.url + path, signed.body, signed.headers(), PATIENCE).status


@pytest.fixture(scope="module")
def run():
    """`make local` with own settings."""
    run = Run({name: str(free_port()) for name in demo.PORTS})
    demonstration = command("--stay", WEBHOOK_SECRET=OWN_KEY, WEBHOOK_TOLERANCE_SECONDS="300", **run.ports)
    with started(demonstration["args"], run.lines.put, env=demonstration["env"]) as (run.process, run.reader):
        run.read_until(lambda shown: "make smoke" in shown)
        yield run


def test_own_settings_are_used_and_the_key_is_not_shown(run):
    assert run.status(OWN_KEY) == 200
    assert run.status(KEY) == 401
    assert run.status(OWN_KEY, "msg_1", "1767225600") == 401
    run.read_until(lambda shown: "timestamp_outside_tolerance" in shown)
    assert OWN_KEY not in run.shown


@pytest.mark.parametrize("path", ["a/b?c=d", "lambda-url/pollo-webhook/"])
def test_every_path_reaches_the_function(run, path):
    assert run.status(OWN_KEY, "path", path=path) == 200
    run.read_until(lambda shown: '"path"' in shown and shown.count("webhookId=path") == 2)


def test_concurrent_webhooks_are_each_shown_with_their_own_messages(run):
    results = {f"msg_{number}": "published" if number % 5 else "signature_mismatch" for number in range(25)}

    def send(id):
        run.status(OWN_KEY if results[id] == "published" else KEY, id)

    with ThreadPoolExecutor(len(results)) as threads:
        list(threads.map(send, results))
    # Two queues deliver each success, and its attributes are shown each time.
    shown = run.read_until(lambda shown: shown.count("webhookId=msg_") == 40 and shown.count('"msg_') == 25)
    for block in shown.strip().split("\n\n"):
        line = json.loads(re.search("logged +(.*)", block)[1])
        assert line["result"] == results[line["webhookId"]]
        messages = 2 if line["result"] == "published" else 0
        assert re.findall(r"webhookId=(\S+)", block) == [line["webhookId"]] * messages


def test_a_message_without_a_log_line_is_shown_separately(run):
    sns = Sns(Emulator("SNS", None, run.ports["SNS_PORT"]))
    sns.sns.publish(TopicArn=sns.topic("pollo-outcomes"), Message="by hand")
    run.status(OWN_KEY, "last")
    shown = run.read_until(lambda shown: shown.count("costly") == 2 and shown.count("webhookId=last") >= 2)
    assert [sorted(re.findall("by hand|webhookId=last", block)) for block in shown.strip().split("\n\n")] in [
        [["webhookId=last"] * 2, ["by hand"]],
        [["by hand"], ["webhookId=last"] * 2],
    ]


def test_ctrl_c_stops_it_and_frees_the_ports(run):
    run.process.send_signal(signal.SIGINT)
    run.read_until(lambda shown: shown.endswith("\nEverything is stopped.\n"))
    assert run.process.wait(PATIENCE) == 0
    for port in run.ports.values():
        socket.create_server((ADDRESS, int(port))).close()
