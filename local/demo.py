"""Sends signed webhooks to the function and shows which queues receive the outcomes: `make demo`. `make local` keeps
the function running and shows each further webhook."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import sys
import time
from urllib.parse import urlsplit

# The imports below take a while. This lets Ctrl-C end them without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from local import emulators
from local.emulators import ADDRESS, KEY, SETTINGS
from operate import settings, terminal
from operate.line import parse
from operate.pollo import NOBODYS_KEY, Webhook
from operate.terminal import Failure, show, show_fields, show_message

# The defaults of cargo-lambda and events/local.env.
PORTS = {"LAMBDA_PORT": 9000, "SNS_PORT": urlsplit(SETTINGS["AWS_ENDPOINT_URL_SNS"]).port}

SUCCESS = b'{"taskId":"cm9ap1d4e0001","status":"succeed","credit":12}'
FAILURE = b'{"taskId":"cm9ap1d4e0002","status":"failed","failMsg":"no such image"}'

# A title, the body, the expected status of the response, and the queues that must receive the body.
WEBHOOKS = [
    ("A success", SUCCESS, 200, ["everything", "costly"]),
    ("A failure", FAILURE, 200, ["everything", "only-failed"]),
    ("A forged success", SUCCESS, 401, []),
]

GREEN, RED = "\033[32m", "\033[31m"
DEFAULT_COLOUR = "\033[0m"


def ports():
    """The ports in the environment, or else PORTS. Raises Failure if one is in use."""
    numbers, used = [], []
    with contextlib.ExitStack() as servers:
        for name, default in PORTS.items():
            text = os.environ.get(name) or str(default)
            try:
                numbers.append(int(text))
                servers.enter_context(socket.create_server((ADDRESS, numbers[-1])))
            except (ValueError, OverflowError):
                raise Failure(f"{name}={text!r} is not a port; expected a number up to 65535.") from None
            except OSError as error:
                used.append(f"{name}={text} ({os.strerror(error.errno)})")
    if used:
        raise Failure(f"{' and '.join(used)} cannot be used: stop the program that uses it, or set another port.")
    return numbers


def keys():
    """The keys in WEBHOOK_SECRET, or else the published test key."""
    return settings.keys() if os.environ.get("WEBHOOK_SECRET") else [KEY]


def tolerance():
    name = "WEBHOOK_TOLERANCE_SECONDS"
    seconds = os.environ.get(name) or SETTINGS[name]
    if not re.fullmatch("[0-9]{1,9}", seconds):
        raise Failure(
            f"{name}={seconds!r} is not a whole number; expected seconds, or 0 to disable the timestamp check."
        )
    return seconds


def show_line(line):
    """Shows a line of the log: unchanged, or on a terminal as its result in colour and its fields."""
    fields = parse(line)
    if not fields or not sys.stdout.isatty():
        show("logged", line)
        return
    result = str(fields.pop("result", "error"))
    show("logged", f"{GREEN if result == 'published' else RED}{result}{DEFAULT_COLOUR}")
    show_fields(fields)


def show_queues(taken):
    """Shows the messages of each queue."""
    for name, messages in taken.items():
        for body, attributes in messages:
            show_message(name, body, attributes)
        if not messages:
            show(name, "-")


def send_three(function, queues, key):
    """Returns a sentence for each unexpected result."""
    wrong = []
    for number, (title, sent, status, places) in enumerate(WEBHOOKS, start=1):
        print(f"\n{number}  {title}")
        show("sent", sent.decode())
        responded, _, body = function.send(Webhook(sent, NOBODYS_KEY if status == 401 else key))
        show("response", f"{responded} {body}")
        show_line(function.log())
        taken = {queue.name: queue.take() for queue in queues}
        show_queues(taken)
        if responded != status:
            wrong.append(f"{title}: the response is {responded}; expected {status}.")
        for name, messages in taken.items():
            expected = [sent.decode()] if name in places else []
            if [body for body, _ in messages] != expected:
                wrong.append(f"{title}: the queue {name} received {messages}; expected {expected}.")
    return wrong


def invite(function, key):
    signed = Webhook(SUCCESS, key)
    headers = " ".join(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in signed.headers().items())
    seconds = function.environment["WEBHOOK_TOLERANCE_SECONDS"]
    published = key == KEY
    print(
        f"""
The function keeps running, and each further webhook is shown here. Ctrl-C stops everything.

   URL          {function.url}
   key          {f"{KEY} (published, for tests only)" if published else "yours, from WEBHOOK_SECRET"}
   tolerance    {"disabled: old timestamps are accepted" if seconds == "0" else f"{seconds} seconds"}

A signed webhook:

curl -i {function.url} {headers} --data-raw {shlex.quote(signed.body.decode())}

Other webhooks (`--help` explains them), and the smoke test:

export WEBHOOK_SECRET={KEY if published else "'the key'"}
python3 -m operate.sign curl {function.url} --status failed | sh
make smoke URL={function.url}
"""
    )


def take_one(messages, webhook_id):
    """Removes the first message of a webhook from `messages`. Returns a list of that message, or an empty list."""
    found = [message for message in messages if message[1].get("webhookId") == webhook_id][:1]
    for message in found:
        messages.remove(message)
    return found


def show_further(sns, function, queues):
    """Shows each line of the log with the messages of its webhook."""
    arrived = {queue.name: [] for queue in queues}
    while True:
        lines = function.log_lines(wait=1)
        # A message can arrive before its line, but less than a second. A message of another process has no line here.
        if not lines and any(arrived.values()):
            print(f"\n{time.strftime('%H:%M:%S')}")
            show_queues(arrived)
            arrived = {name: [] for name in arrived}
        sns.check()
        for queue in queues:
            arrived[queue.name] += queue.take()
        for line in lines:
            print(f"\n{time.strftime('%H:%M:%S')}")
            show_line(line)
            fields = parse(line)
            if fields.get("result") == "published":
                show_queues({name: take_one(messages, fields["webhookId"]) for name, messages in arrived.items()})
        function.check()


def main():
    stay = sys.argv[1:] == ["--stay"]
    # Checked before the build, which can take minutes.
    lambda_port, sns_port = ports() if stay else (None, None)
    secret, seconds = keys(), tolerance()
    print("Starting the emulators of Lambda, SNS and SQS, and building the function")
    with emulators.sns(sns_port) as sns:
        binary = emulators.build()
        topic = sns.topic("pollo-outcomes")
        queues = [
            sns.subscribed_queue(topic, "everything"),
            sns.subscribed_queue(topic, "only-failed", FilterPolicy=json.dumps({"status": ["failed"]})),
            sns.subscribed_queue(
                topic,
                "costly",
                FilterPolicyScope="MessageBody",
                FilterPolicy=json.dumps({"credit": [{"numeric": [">=", 10]}]}),
            ),
        ]
        environment = {
            "SNS_TOPIC_ARN": topic,
            "WEBHOOK_SECRET": ",".join(secret),
            "WEBHOOK_TOLERANCE_SECONDS": seconds,
        }
        with emulators.function(binary, sns, lambda_port, **environment) as function:
            print(
                "The topic's queues: everything, only-failed (by the attribute status), costly (by credit in the body)"
            )
            wrong = send_three(function, queues, secret[0])
            print()
            if wrong:
                raise Failure("\n".join(wrong))
            print(
                "All three results are as expected: the forged webhook was rejected, the others reached the right queues."
            )
            if stay:
                invite(function, secret[0])
                with contextlib.suppress(KeyboardInterrupt):
                    show_further(sns, function, queues)
    print("\nEverything is stopped.")


if __name__ == "__main__":
    terminal.run(main)
