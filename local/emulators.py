"""The compiled function between emulators: Lambda with its function URL in front of it, SNS and SQS behind it."""

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
    import yaml
except ImportError:
    sys.exit("boto3 or PyYAML is missing: start this through make, which brings it and the emulators")

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

# Longest wait for a part to start and for an answer, in seconds. Nothing takes a tenth of it, but on a busy machine.
PATIENCE = 60

# Whatever settings this machine has, nothing of the trial may reach AWS, and a proxy is for other addresses.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
for name in ["no_proxy", "NO_PROXY"]:
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), ADDRESS]))


class Template(yaml.SafeLoader):
    """Reads the template without a look at CloudFormation's functions."""


Template.add_multi_constructor("!", lambda *_: None)


def template():
    return yaml.load((CHECKOUT / "template.yaml").read_text(), Template)


def binary(*options):
    """The path of the function: of the one that FUNCTION_BINARY names, built already, or else as `build` gives it."""
    return os.environ.get("FUNCTION_BINARY") or build(*options)


def build(*options):
    """Compiles the function. Gives its path."""
    command = ["cargo", "build", "--locked", "--bin", "pollo-webhook", "--message-format", "json-render-diagnostics"]
    built = subprocess.run([*command, *options], cwd=CHECKOUT, stdout=subprocess.PIPE, check=False)
    if built.returncode != 0:
        raise Failure("The function does not compile: the lines above say why.")
    messages = map(json.loads, built.stdout.splitlines())
    return next(message["executable"] for message in messages if message.get("executable"))


@contextlib.contextmanager
def started(command, printed, **options):
    """A process that ends with the block, and the thread that calls `printed` with each line that it prints."""
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A group of its own, with whatever it starts: a Ctrl-C shall reach it through us alone.
        start_new_session=True,
        **options,
    )
    reader = threading.Thread(target=lambda: [printed(line.rstrip("\n")) for line in process.stdout])
    reader.start()
    try:
        yield process, reader
    finally:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(5)
        # Whatever of the group is left.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join()
        process.stdout.close()


# Those below the ones that connections go out from, which could take a port before its server does; in random order, for
# other runs at the same time.
PORTS = random.sample(range(20_000, 32_000), 12_000)


def free_port():
    """A port that nobody has, and that is given to nobody else."""
    while True:
        port = PORTS.pop()
        with contextlib.suppress(OSError), socket.create_server((ADDRESS, port)):
            return port


class Part:
    """A process and the port on which it is reached."""

    def __init__(self, name, process, port):
        self.name, self.process, self.port = name, process, port

    def check(self):
        """Raises Failure if it has ended."""
        if self.process.poll() is not None:
            raise Failure(f"{self.name} has ended.")


def check_free(service, port):
    """Raises Failure if somebody else has the port."""
    deadline = time.monotonic() + 2
    while True:
        try:
            return socket.create_server((ADDRESS, port)).close()
        except OSError as error:
            # What another thread has just started may have it for a moment, from before it becomes a program of its own.
            if time.monotonic() > deadline:
                reason = os.strerror(error.errno)
                variable = f"{service.upper()}_PORT"
                raise Failure(
                    f"Port {port} of {ADDRESS} cannot be had ({reason}): {variable}=... names another."
                ) from None
        time.sleep(0.02)


@contextlib.contextmanager
def emulator(service, port, command, **options):
    """An emulator whose command makes it listen on `port`."""
    check_free(service, port)
    if not command[0].exists():
        raise Failure(f"{command[0]} is missing: start this through make, which brings it.")
    last = collections.deque(maxlen=20)
    with started(command, last.append, **options) as (process, reader):
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((ADDRESS, port), 1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                reader.join(1)
                raise Failure("\n".join([f"The emulator of {service} does not start:", *last]))
            time.sleep(0.02)
        yield Part(f"The emulator of {service}", process, port)


@contextlib.contextmanager
def sns(port=None, **environment):
    """SNS, and SQS for the queues behind its topics, on `port` or else on any that is free."""
    port = port or free_port()
    command = [TOOLS / "python", "-m", "moto.server", "-H", ADDRESS, "-p", port]
    with emulator("SNS", port, command, env={**os.environ, **environment}) as part:
        yield Sns(part)


@contextlib.contextmanager
def function(binary, sns, lambda_port=None, **environment):
    """The compiled function, with Lambda in front of it and `sns` behind it."""
    lambda_port = lambda_port or free_port()
    with emulator("Lambda", lambda_port, [*LAMBDA, "-P", lambda_port]) as part:
        # Nothing of this machine's environment is in it, and no address but the emulators'. It goes by the name of its
        # binary, because the emulator knows no others.
        environment = {
            "AWS_LAMBDA_RUNTIME_API": f"http://{ADDRESS}:{part.port}/.rt/pollo-webhook",
            "AWS_LAMBDA_FUNCTION_NAME": "pollo-webhook",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            **SETTINGS,
            "AWS_ENDPOINT_URL_SNS": sns.url,
            **environment,
        }
        function = Function(part, environment)
        with started([binary], function.printed, env=environment) as (function.process, function.reader):
            yield function


class Sns:
    def __init__(self, part):
        self.check = part.check
        self.url = f"http://{ADDRESS}:{part.port}"
        session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=REGION)
        self.sns, self.sqs = [session.client(service, endpoint_url=self.url) for service in ["sns", "sqs"]]

    def topic(self, name):
        """Creates a topic. Gives its ARN."""
        attributes = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
        return self.sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]

    def subscribed_queue(self, topic, name, **attributes):
        """Creates a queue and subscribes it to `topic`, with raw delivery. Gives the queue."""
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
        """Takes out all messages that are there now: pairs of the body and the attributes."""
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
        # All lines and all answers, for who wants to see that something is in none of them.
        self.written = []
        self.url = f"http://{ADDRESS}:{emulator.port}/lambda-url/pollo-webhook/"

    def printed(self, line):
        self.written.append(line)
        self.lines.put(line)

    def check(self):
        """Raises Failure if it or its emulator has ended."""
        self.emulator.check()
        status = self.process.poll()
        if status is not None:
            self.reader.join(PATIENCE)
            raise Failure("\n".join([f"The function has ended with status {status}:", *self.log_lines()]))

    def log(self):
        """The next line of the log, waited for."""
        try:
            return self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise Failure("The function has logged nothing.") from None

    def log_lines(self, wait=0):
        """The lines that were logged since the last call, with up to `wait` seconds for the first."""
        lines = []
        with contextlib.suppress(queue.Empty):
            lines.append(self.lines.get(timeout=wait) if wait else self.lines.get_nowait())
            while True:
                lines.append(self.lines.get_nowait())
        return lines

    def request(self, method, body=b"", headers=None):
        """Sends a request to the function URL. Gives the answer's status, headers and body."""
        return self._http(method, "/lambda-url/pollo-webhook/", body, headers or {})

    def send(self, webhook):
        return self.request("POST", webhook.body, webhook.headers())

    def invoke(self, event):
        """Hands over an event, as Lambda's own API does. Gives the answer's status, headers and body."""
        return self._http("POST", "/2015-03-31/functions/pollo-webhook/invocations", event, {})

    def _http(self, method, path, body, headers):
        connection = http.client.HTTPConnection(ADDRESS, self.emulator.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            deadline = time.monotonic() + PATIENCE
            while not select.select([connection.sock], [], [], 0.1)[0]:
                # The emulator waits for a function that is not there.
                self.check()
                if time.monotonic() > deadline:
                    raise Failure(f"The function has not answered within {PATIENCE} seconds.")
            answer = connection.getresponse()
            text = answer.read().decode()
            self.written.append(f"{answer.headers}{text}")
            return answer.status, answer.headers, text
