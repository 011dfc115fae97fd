"""Runs the compiled function with emulators: Lambda with its function URL, SNS and SQS."""

import collections
import contextlib
import http.client
import json
import os
import queue
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

try:
    import boto3
except ImportError:
    sys.exit("boto3 is missing: run this through make, which installs it and the emulators")

from operate.terminal import Failure

CHECKOUT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent
ADDRESS = "127.0.0.1"
LAMBDA = [TOOLS / "cargo-lambda", "lambda", "watch", "--only-lambda-apis", "-A", ADDRESS]

# The function's environment on this machine.
LOCAL_ENV = CHECKOUT / "events" / "local.env"
SETTINGS = dict(re.findall(r'^(\w+)="?(.*?)"?$', LOCAL_ENV.read_text(), re.MULTILINE))
KEY = SETTINGS["WEBHOOK_SECRET"]
REGION = SETTINGS["AWS_REGION"]

# Longest wait for a start or a response, in seconds. Ten times what a busy machine needs.
PATIENCE = 60

# This machine's settings must not direct calls to AWS, or calls of the emulators to a proxy.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
for name in ["no_proxy", "NO_PROXY"]:
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), ADDRESS]))


def binary(*options):
    """The path of the compiled function: FUNCTION_BINARY, or else the result of `build`."""
    return os.environ.get("FUNCTION_BINARY") or build(*options)


def build(*options):
    """Compiles the function with these options of cargo. Returns its path."""
    command = ["cargo", "build", "--locked", "--bin", "pollo-webhook", "--message-format", "json-render-diagnostics"]
    built = subprocess.run([*command, *options], cwd=CHECKOUT, stdout=subprocess.PIPE, check=False)
    if built.returncode != 0:
        raise Failure("The function does not compile: see the lines above.")
    messages = map(json.loads, built.stdout.splitlines())
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}["pollo-webhook"]


@contextlib.contextmanager
def started(command, printed, **options):
    """A process that is stopped after the block, and the thread that calls `printed` with each line of its output."""
    with (
        # Kills its process group when its input ends: after the block, or when this process is killed. Ctrl-C does not
        # reach the group.
        subprocess.Popen(["/bin/sh", "-c", "read end; kill -KILL 0"], stdin=subprocess.PIPE, process_group=0) as leader,
        subprocess.Popen(
            [str(word) for word in command],
            cwd=options.pop("cwd", CHECKOUT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=leader.pid,
            **options,
        ) as process,
    ):
        reader = threading.Thread(target=lambda: [printed(line.rstrip("\n")) for line in process.stdout], daemon=True)
        reader.start()
        try:
            yield process, reader
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            leader.communicate()
            reader.join()


# Below the ephemeral ports, which the system could assign before the server starts. In random order, for parallel runs.
PORTS = random.sample(range(20_000, 32_000), 12_000)


def free_port():
    """A free port. Each call returns another one."""
    while True:
        port = PORTS.pop()
        with contextlib.suppress(OSError), socket.create_server((ADDRESS, port)):
            return port


class Emulator:
    """The process of an emulator, and its port."""

    def __init__(self, name, process, port):
        self.name, self.process, self.port = name, process, port

    def check(self):
        """Raises Failure if the process has ended."""
        check(self.name, self.process)


def check(name, process, lines=list):
    """Raises Failure with the printed `lines` if `process` has ended."""
    status = process.poll()
    if status is not None:
        end = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"has ended with status {status}"
        raise Failure(followed(f"{name} {end}", lines()))


def followed(sentence, lines):
    return "\n".join([f"{sentence}:", *lines]) if lines else f"{sentence}."


@contextlib.contextmanager
def emulator(service, port, command, **options):
    """Starts `command`, and waits until it listens on `port`."""
    if not command[0].exists():
        raise Failure(f"{command[0]} is missing: run this through make, which installs it.")
    name = f"The emulator of {service}"
    last = collections.deque(maxlen=20)
    with started(command, last.append, **options) as (process, reader):
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((ADDRESS, port), 1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                reader.join(1)
                raise Failure(followed(f"{name} does not start", last))
            time.sleep(0.02)
        yield Emulator(name, process, port)


@contextlib.contextmanager
def sns(port=None, **environment):
    """An emulator of SNS and SQS, on `port` or else on a free one."""
    port = port or free_port()
    command = [TOOLS / "python", "-m", "moto.server", "-H", ADDRESS, "-p", port]
    with emulator("SNS", port, command, env={**os.environ, **environment}) as running:
        yield Sns(running)


@contextlib.contextmanager
def function(binary, sns, lambda_port=None, **environment):
    """The compiled function with an emulator of Lambda, and `sns`."""
    lambda_port = lambda_port or free_port()
    with emulator("Lambda", lambda_port, [*LAMBDA, "-P", lambda_port]) as running:
        # Contains nothing of this machine's environment, so the function calls only the emulators. The emulator of
        # Lambda requires the binary's name as the function name.
        environment = {
            "AWS_LAMBDA_RUNTIME_API": f"http://{ADDRESS}:{running.port}/.rt/pollo-webhook",
            "AWS_LAMBDA_FUNCTION_NAME": "pollo-webhook",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            **SETTINGS,
            "AWS_ENDPOINT_URL_SNS": sns.url,
            **environment,
        }
        function = Function(running, environment)
        with started([binary], function.printed, env=environment) as (function.process, function.reader):
            yield function


class Sns:
    def __init__(self, emulator):
        self.check = emulator.check
        self.url = f"http://{ADDRESS}:{emulator.port}"
        session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=REGION)
        self.sns, self.sqs = [session.client(service, endpoint_url=self.url) for service in ["sns", "sqs"]]

    def topic(self, name):
        """Creates a topic. Returns its ARN."""
        attributes = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
        return self.sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]

    def subscribed_queue(self, topic, name, **attributes):
        """Creates a queue and subscribes it to `topic` with raw delivery. Returns the queue."""
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        url = self.sqs.create_queue(QueueName=name, Attributes=fifo)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        attributes = {"RawMessageDelivery": "true", **attributes}
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
        return Queue(name, url, self.sqs)


class Queue:
    def __init__(self, name, url, sqs):
        self.name, self.url, self.sqs = name, url, sqs

    def take(self):
        """Receives and deletes all current messages. Returns pairs of the body and the attributes."""
        messages = []
        while True:
            received = self.sqs.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=0, MessageAttributeNames=["All"]
            ).get("Messages", [])
            if not received:
                return messages
            for message in received:
                attributes = message.get("MessageAttributes", {})
                messages.append((message["Body"], {name: value["StringValue"] for name, value in attributes.items()}))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])


class Function:
    def __init__(self, emulator, environment):
        self.emulator, self.environment = emulator, environment
        self.lines = queue.Queue()
        # All lines and responses, for tests that search them for secrets.
        self.written = []
        self.url = f"http://{ADDRESS}:{emulator.port}/"

    def printed(self, line):
        self.written.append(line)
        self.lines.put(line)

    def check(self):
        """Raises Failure if the function or its emulator has ended."""
        self.emulator.check()
        check("The function", self.process, self.last_lines)

    def last_lines(self):
        self.reader.join(PATIENCE)
        return self.log_lines()

    def log(self):
        """Waits for the next line of the log."""
        try:
            return self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise Failure(f"The function has logged nothing for {PATIENCE} seconds.") from None

    def log_lines(self, wait=0):
        """The lines since the last call. Waits up to `wait` seconds for the first."""
        lines = []
        with contextlib.suppress(queue.Empty):
            lines.append(self.lines.get(timeout=wait) if wait else self.lines.get_nowait())
            while True:
                lines.append(self.lines.get_nowait())
        return lines

    def request(self, method, body=b"", headers=None):
        """Sends a request to the function URL. Returns the response's status, headers and body."""
        return self._http(method, "/", body, headers or {})

    def send(self, webhook):
        return self.request("POST", webhook.body, webhook.headers())

    def invoke(self, event):
        """Sends an event through Lambda's API Invoke. Returns the response's status, headers and body."""
        return self._http("POST", "/2015-03-31/functions/pollo-webhook/invocations", event, {})

    def _http(self, method, path, body, headers):
        connection = http.client.HTTPConnection(ADDRESS, self.emulator.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            deadline = time.monotonic() + PATIENCE
            while not select.select([connection.sock], [], [], 0.1)[0]:
                # The emulator waits even if the function has ended.
                self.check()
                if time.monotonic() > deadline:
                    raise Failure(f"The function has not responded within {PATIENCE} seconds.")
            response = connection.getresponse()
            text = response.read().decode()
            self.written.append(f"{response.headers}{text}")
            return response.status, response.headers, text
