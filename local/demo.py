"""Sends signed webhooks through the function and shows what comes out of the queues: `make demo`, or `make local`, which
stays up and goes on showing."""

import contextlib
import json
import os
import shlex
import signal
import sys
import time
from urllib.parse import urlsplit

from local import emulators
from local.emulators import KEY, SETTINGS
from operate import terminal
from operate.pollo import NOBODYS_KEY, Webhook
from operate.terminal import Failure

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

SUCCESS = b'{"taskId":"cm9ap1d4e0001","status":"succeed","credit":12}'
FAILURE = b'{"taskId":"cm9ap1d4e0002","status":"failed","failMsg":"no such image"}'

# What is sent, the key that signs it, the answer that it must get, and the queues that it must come out of.
WEBHOOKS = [
    ("A success", SUCCESS, KEY, 200, ["everything", "costly"]),
    ("A failure", FAILURE, KEY, 200, ["everything", "only-failed"]),
    ("A forged success", SUCCESS, NOBODYS_KEY, 401, []),
]


def show(label, text):
    print(f"   {label:<12} {text}")


def show_queues(taken):
    """Shows the messages of each queue."""
    for name, messages in taken.items():
        for body, attributes in messages:
            show(name, body)
            show("", "  ".join(f"{name}={value}" for name, value in sorted(attributes.items())))
        if not messages:
            show(name, "-")


def stop(*_):
    # Once is enough: another signal shall not keep us from taking everything down.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def port(name, default):
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) > 65535:
        raise Failure(f"{name}={text} is no port: it takes a number up to 65535.")
    return int(text)


def send_three(function, queues):
    """Gives what went otherwise than expected."""
    wrong = []
    for number, (title, sent, key, status, places) in enumerate(WEBHOOKS, start=1):
        print(f"\n{number}  {title}")
        show("sent", sent.decode())
        answered, _, body = function.send(Webhook(sent, key))
        show("answered", f"{answered} {body}")
        show("logged", function.log())
        taken = {queue.name: queue.take() for queue in queues}
        show_queues(taken)
        if answered != status:
            wrong.append(f"{title} was answered {answered} instead of {status}.")
        for name, messages in taken.items():
            expected = [sent.decode()] if name in places else []
            if [body for body, _ in messages] != expected:
                wrong.append(f"Out of the queue {name}, after {title.lower()}, should have come {expected}.")
    return wrong


def invite(function):
    signed = Webhook(SUCCESS, KEY)
    headers = " ".join(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in signed.headers().items())
    tolerance = function.environment["WEBHOOK_TOLERANCE_SECONDS"]
    print(
        f"""
The function stays up, and each further webhook is shown here. Ctrl-C takes everything down.

   URL          {function.url}
   key          {KEY}
   tolerance    {"off, so that old timestamps pass too" if tolerance == "0" else f"{tolerance} seconds"}

A webhook that is signed already:

curl -i {function.url} {headers} --data-raw {shlex.quote(signed.body.decode())}

Any other (`--help` explains it):

export WEBHOOK_SECRET={KEY}
cargo run -q --example sign -- curl {function.url} --status failed | sh
"""
    )


def go_on(sns, function, queues):
    while True:
        lines = function.log_lines(wait=1)
        sns.check()
        # A message belongs to the line with its webhookId, and may lie in its queues a moment before that is logged.
        arrived = {queue.name: messages for queue in queues if (messages := queue.take())}
        if lines or arrived:
            print(f"\n{time.strftime('%H:%M:%S')}")
            for line in lines:
                show("logged", line)
            show_queues(arrived)
        function.check()


def main():
    for number in SIGNALS:
        signal.signal(number, stop)
    # The ports that `cargo lambda invoke` and events/local.env expect, or else any that are free.
    stay = sys.argv[1:] == ["--stay"]
    lambda_port = port("LAMBDA_PORT", 9000 if stay else 0)
    sns_port = port("SNS_PORT", urlsplit(SETTINGS["AWS_ENDPOINT_URL_SNS"]).port if stay else 0)
    print("Starting the emulators of Lambda, SNS and SQS, and building the function")
    settings = {name: os.environ[name] for name in ["WEBHOOK_TOLERANCE_SECONDS"] if name in os.environ}
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
        with emulators.function(binary, sns, lambda_port, SNS_TOPIC_ARN=topic, **settings) as function:
            print(
                "The topic's queues: everything, only-failed (by the attribute status), costly (by credit in the body)"
            )
            wrong = send_three(function, queues)
            print()
            if wrong:
                raise Failure("\n".join(wrong))
            print("All three went as they must: the outcomes came out of the right queues, the forged one out of none.")
            if stay:
                invite(function)
                with contextlib.suppress(KeyboardInterrupt):
                    go_on(sns, function, queues)
    print("\nEverything is down.")


if __name__ == "__main__":
    terminal.run(main)
