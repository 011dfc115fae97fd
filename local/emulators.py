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
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import click

CHECKOUT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent
ADDRESS = "127.0.0.1"

# The function's environment on this machine.
LOCAL_ENV = CHECKOUT / "events" / "local.env"
SETTINGS = dict(re.findall(r'^(\w+)="?(.*?)"?$', LOCAL_ENV.read_text(), re.MULTILINE))
KEY = SETTINGS["WEBHOOK_SECRET"]

# Where the emulator of Lambda has the function's URL.
URL_PATH = "/lambda-url/pollo-webhook/"

# cargo-lambda asks cargo about the project, even for its emulator alone. This replies where there is no Rust.
CARGO = """#!/bin/sh
echo '{"packages": [{"id": "pollo-webhook", "name": "pollo-webhook", "version": "0.0.0", "manifest_path": "/",
"targets": [{"kind": ["bin"], "name": "pollo-webhook", "src_path": "/"}], "dependencies": [], "features": {}}],
"workspace_members": ["pollo-webhook"], "workspace_root": "/", "target_directory": "/", "version": 1}' | tr -d '\\n'
"""

# Longest wait for a start or a response, in seconds. Ten times what a busy machine needs.
PATIENCE = 60

Failure = click.ClickException


def isolate(environment):
    """Removes what would direct calls to AWS, or calls of the emulators to a proxy, from this environment."""
    for name in [name for name in environment if name.startswith("AWS_")]:
        del environment[name]
    environment |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    for name in ["no_proxy", "NO_PROXY"]:
        environment[name] = ",".join(filter(None, [environment.get(name), ADDRESS]))


def binary():
    """The path of the compiled function: FUNCTION_BINARY, the one in an unpacked release, or else it is compiled."""
    if os.environ.get("FUNCTION_BINARY"):
        return os.environ["FUNCTION_BINARY"]
    if (CHECKOUT / "bootstrap.zip").exists():
        return released()
    command = ["cargo", "build", "--locked", "--bin", "pollo-webhook", "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, check=False)
    if built.returncode != 0:
        raise Failure("The function does not compile: see the lines above.")
    messages = map(json.loads, built.stdout.splitlines())
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}["pollo-webhook"]


def released():
    """Unpacks the function of a release."""
    path = CHECKOUT / ".tools" / "bootstrap"
    unpacked = path.with_suffix(f".{os.getpid()}")
    with zipfile.ZipFile(CHECKOUT / "bootstrap.zip") as archive:
        unpacked.write_bytes(archive.read("bootstrap"))
    unpacked.chmod(0o755)
    # Linux does not write into a running program, but replaces it.
    unpacked.replace(path)
    try:
        subprocess.run([path], env={}, stdout=subprocess.DEVNULL, check=False)
    except OSError as error:
        where = "it is compiled for Linux. In a clone of the repository, make compiles it for this machine."
        raise Failure(f"The function of this release does not run here ({error.strerror}): {where}") from None
    return path


@contextlib.contextmanager
def started(command, printed, **options):
    """A process that is stopped after the block, and the thread that calls `printed` with each line of its output."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    # In a group of its own, which Ctrl-C does not reach.
    options = {"cwd": CHECKOUT, "process_group": 0, **pipes, **options}
    with subprocess.Popen([str(word) for word in command], **options) as process:
        reader = threading.Thread(target=lambda: [printed(line.rstrip("\n")) for line in process.stdout], daemon=True)
        reader.start()
        try:
            yield process, reader
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join()


# Below the ephemeral ports, which the system could assign before the server starts. In random order, for parallel runs.
PORTS = random.sample(range(20_000, 32_000), 12_000)


def free_port():
    """A free port. Each call returns another one."""
    while True:
        port = PORTS.pop()
        with contextlib.suppress(OSError), socket.create_server((ADDRESS, port)):
            return port


@contextlib.contextmanager
def emulator(service, port, command, printed=None, **options):
    """Starts `command`, and waits until it listens on `port`."""
    try:
        socket.create_server((ADDRESS, port)).close()
    except OSError as error:
        raise Failure(f"The emulator of {service} cannot use the port {port}: {os.strerror(error.errno)}.") from None
    last = collections.deque(maxlen=20)
    with started(command, printed or last.append, **options) as (process, reader):
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((ADDRESS, port), 1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                reader.join(1)
                raise Failure("\n".join([f"The emulator of {service} does not start:", *last]))
            time.sleep(0.02)
        yield


@contextlib.contextmanager
def sns(port=None):
    """An emulator of SNS and SQS, on `port` or else on a free one."""
    port = port or free_port()
    with emulator("SNS", port, [TOOLS / "python", "-m", "moto.server", "-H", ADDRESS, "-p", port]):
        yield Sns(f"http://{ADDRESS}:{port}")


@contextlib.contextmanager
def function(binary, sns, lambda_port=None, url=None, **environment):
    """The compiled function with an emulator of Lambda, and `sns`. `url` leads to the function, by default the
    emulator's own."""
    lambda_port = lambda_port or free_port()
    # Contains nothing of this machine's environment, so the function calls only the emulators. The emulator of Lambda
    # requires the binary's name as the function name.
    environment = {
        "AWS_LAMBDA_RUNTIME_API": f"http://{ADDRESS}:{lambda_port}/.rt/pollo-webhook",
        "AWS_LAMBDA_FUNCTION_NAME": "pollo-webhook",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        **SETTINGS,
        "AWS_ENDPOINT_URL_SNS": sns.url,
        **environment,
    }
    with tempfile.TemporaryDirectory() as folder:
        cargo = Path(folder, "cargo")
        cargo.write_text(CARGO)
        cargo.chmod(0o755)
        command = [TOOLS / "cargo-lambda", "lambda", "watch", "--only-lambda-apis", "-A", ADDRESS, "-P", lambda_port]
        with emulator("Lambda", lambda_port, command, env={**os.environ, "CARGO": str(cargo)}):
            function = Function(url or f"http://{ADDRESS}:{lambda_port}{URL_PATH}", environment)
            with started([binary], function.printed, env=environment) as (function.process, function.reader):
                yield function


class Sns:
    def __init__(self, url):
        self.url = url
        session = boto3.Session("local", "local", region_name=SETTINGS["AWS_REGION"])
        self.sns, self.sqs = [session.client(service, endpoint_url=url) for service in ["sns", "sqs"]]

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
        messages, options = [], {"MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
        while received := self.sqs.receive_message(QueueUrl=self.url, **options).get("Messages"):
            for message in received:
                attributes = message.get("MessageAttributes", {})
                messages.append((message["Body"], {name: value["StringValue"] for name, value in attributes.items()}))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return messages


class Function:
    def __init__(self, url, environment):
        self.url, self.environment = url, environment
        self.lines = queue.Queue()
        # All lines and responses, for tests that search them for secrets.
        self.written = []

    def printed(self, line):
        self.written.append(line)
        self.lines.put(line)

    def check(self):
        """Raises Failure, with what was printed last, if the function has ended."""
        if self.process.poll() is not None:
            self.reader.join(PATIENCE)
            told = f"The function has ended with status {self.process.returncode}:"
            raise Failure("\n".join([told, *self.log_lines()]))

    def log(self):
        """Waits for the next line of the log."""
        try:
            return self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise Failure(f"The function has logged nothing for {PATIENCE} seconds.") from None

    def log_lines(self):
        """The lines since the last call."""
        return [self.lines.get() for _ in range(self.lines.qsize())]

    def send(self, webhook):
        """Sends a webhook to the function's URL. Returns the response's status, headers and body."""
        url = urlsplit(self.url)
        with contextlib.closing(http.client.HTTPConnection(url.hostname, url.port, timeout=PATIENCE)) as connection:
            connection.request("POST", url.path, webhook.body, webhook.headers())
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
