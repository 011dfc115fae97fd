"""The function on AWS's own Runtime Interface Emulator, which enforces the time-out and sends real deadlines."""

import contextlib
import json
import platform
import queue

import urllib3

from local.emulators import ADDRESS, CHECKOUT, PATIENCE, SETTINGS, emulator, free_port

ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine())
PROGRAM = f".tools/rie/lib/*/site-packages/samcli/local/rapid/aws-lambda-rie-{ARCHITECTURE}"


def event(webhook):
    """The event of a function URL, in payload format 2.0, for a webhook with a text body."""
    made = json.loads((CHECKOUT / "events" / "succeed.json").read_text())
    made["headers"] |= {name.lower(): value for name, value in webhook.headers().items()}
    return {**made, "body": webhook.body.decode()}


class Runtime:
    def __init__(self, url):
        self.url, self.lines = url, queue.Queue()

    def invoke(self, event):
        """Returns the function's response, and what it and Lambda have logged."""
        response = urllib3.request("POST", self.url, body=json.dumps(event), timeout=PATIENCE, retries=False)
        lines = list(iter(lambda: self.lines.get(timeout=PATIENCE), "end"))
        return response.data and response.json(), [json.loads(line) for line in lines if line.startswith("{")], lines

    def printed(self, line):
        self.lines.put(line)
        # The last line of an invocation, or of a process that has ended.
        if line.startswith("REPORT ") or "Reset initiated" in line:
            self.lines.put("end")


@contextlib.contextmanager
def runtime(binary, timeout, **environment):
    """Runs the function with a time-out in seconds."""
    [program] = CHECKOUT.glob(PROGRAM)
    ports = free_port(), free_port()
    command = [program, "--runtime-interface-emulator-address", f"{ADDRESS}:{ports[0]}"]
    command += ["--runtime-api-address", f"{ADDRESS}:{ports[1]}", binary]
    environment = {**SETTINGS, "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout), **environment}
    running = Runtime(f"http://{ADDRESS}:{ports[0]}/2015-03-31/functions/function/invocations")
    with emulator("Lambda", ports[0], command, printed=running.printed, env=environment):
        yield running
