"""The function on AWS's own Runtime Interface Emulator, which enforces the time-out and sends real deadlines.

The wheel of the SAM CLI has it (tools/rie.txt).
"""

import contextlib
import json
import platform
import queue

from local.emulators import ADDRESS, CHECKOUT, PATIENCE, SETTINGS, emulator, free_port
from tests.end_to_end.exchange import invoke

ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine())
PROGRAM = f".tools/rie/lib/*/site-packages/samcli/local/rapid/aws-lambda-rie-{ARCHITECTURE}"


class Runtime:
    def __init__(self, url):
        self.url, self.lines = url, queue.Queue()

    def invoke(self, event):
        """Returns the function's response, and what it and Lambda have logged."""
        status, response = invoke(self.url, event, "function")
        lines = list(iter(lambda: self.lines.get(timeout=PATIENCE), "end"))
        response = json.loads(response) if status == 200 else response
        return response, [json.loads(line) for line in lines if line.startswith("{")], lines

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
    running = Runtime(f"http://{ADDRESS}:{ports[0]}/")
    with emulator("Lambda", ports[0], command, printed=running.printed, env=environment):
        yield running
