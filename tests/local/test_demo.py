"""`make local`, without make. (tests/local/test_package.py runs `make demo`.)"""

import os
import queue
import signal
import socket
import subprocess
import sys

import pytest
import urllib3

from local.emulators import ADDRESS, CHECKOUT, KEY, PATIENCE, free_port, started
from operate.pollo import Webhook

COMMAND = [sys.executable, "-m", "local.demo", "--stay"]
OWN_KEY = "bXkgb3duIGtleSBmcm9tIFBvbGxv"
# Printed as it is, the line break could look like another line.
BODY = b'{"taskId":"t",\n"status":"failed"}'


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("WEBHOOK_SECRET", "changeme", "WEBHOOK_SECRET: key 1 has 6 bytes; at least 16 are needed; expected "),
        ("LAMBDA_PORT", "9OOO", "'LAMBDA_PORT'): '9OOO' is not a valid integer"),
        ("LAMBDA_PORT", "USED", "in use by another program"),
        ("SNS_PORT", "USED", "The emulator of SNS cannot use the port USED: Address already in use."),
    ],
)
def test_an_unusable_setting_is_reported_before_the_function_is_compiled(name, value, problem):
    with socket.create_server((ADDRESS, 0)) as server:
        used = str(server.getsockname()[1])
        settings = {"LAMBDA_PORT": str(free_port()), "SNS_PORT": str(free_port()), name: value.replace("USED", used)}
        environment = {**os.environ, "FUNCTION_BINARY": "no such file", **settings}
        ran = subprocess.run(COMMAND, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert problem.replace("USED", used) in ran.stderr
    assert (ran.returncode > 0, "Traceback" in ran.stderr) == (True, False)


@pytest.mark.parametrize(("end", "status"), [(signal.SIGINT, 0), (signal.SIGHUP, 1)])
def test_it_shows_each_log_line_and_message_until_it_is_ended(end, status):
    ports = {"LAMBDA_PORT": str(free_port()), "SNS_PORT": str(free_port())}
    settings = {"WEBHOOK_SECRET": OWN_KEY, "WEBHOOK_TOLERANCE_SECONDS": "300", **ports}
    lines, shown = queue.Queue(), []

    def read_until(*parts):
        while not all(any(part in line for line in shown) for part in parts):
            shown.append(lines.get(timeout=PATIENCE))

    def send(*webhook):
        signed = Webhook(BODY, *webhook)
        return urllib3.request("POST", url, body=signed.body, headers=signed.headers(), timeout=PATIENCE).status

    url = f"http://{ADDRESS}:{ports['LAMBDA_PORT']}/"
    with started(COMMAND, lines.put, env={**os.environ, **settings}) as (process, reader):
        read_until(f"make smoke URL={url}")
        assert send(OWN_KEY, "msg_own") == 200
        assert send(KEY, "msg_other") == 401
        assert send(OWN_KEY, "msg_late", "1767225600") == 401
        read_until('"webhookId":"msg_own"', '"msg_other"', '"timestamp_outside_tolerance"')
        escaped = r"""'{"taskId":"t",\n"status":"failed"} {"""
        read_until(*[f"   {name:<12} {escaped}" for name in ["everything", "only-failed"]])
        process.send_signal(end)
        assert process.wait(PATIENCE) == status
        reader.join()
    # All but the function's environment is free again.
    for port in ports.values():
        socket.create_server((ADDRESS, int(port))).close()
    assert not [line for line in [*shown, *lines.queue] if OWN_KEY in line or "Traceback" in line]
