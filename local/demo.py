"""Sends signed webhooks to the function and shows which queues receive the outcomes: `make demo`. `make local` keeps
the function running, and shows each further log line and message."""

import contextlib
import json
import os
import signal
import sys
import time

import click

from local import emulators
from local.emulators import KEY, SETTINGS, Failure
from local.front import front
from operate.pollo import NOBODYS_KEY, InvalidKey, Webhook, signing_keys

# The queues of the topic, with their filter policies.
QUEUES = {
    "everything": {},
    "only-failed": {"FilterPolicy": '{"status": ["failed"]}'},
    "costly": {"FilterPolicyScope": "MessageBody", "FilterPolicy": '{"credit": [{"numeric": [">=", 10]}]}'},
}

SUCCESS = b'{"taskId":"cm9ap1d4e0001","status":"succeed","credit":12}'
FAILURE = b'{"taskId":"cm9ap1d4e0002","status":"failed","failMsg":"no such image"}'

PORT = {"type": click.IntRange(1, 65535), "show_default": True, "show_envvar": True}

# A title, the body, the expected status of the response, and the queues that must receive the body.
WEBHOOKS = [
    ("A success", SUCCESS, 200, ["everything", "costly"]),
    ("A failure", FAILURE, 200, ["everything", "only-failed"]),
    ("A success, forged with another key", SUCCESS, 401, []),
]


def show(label, text, colour=None):
    """Prints a line without characters that a terminal could interpret as commands. Colours are for terminals only."""
    click.echo(f"   {label:<12} " + click.style(text if text.isprintable() else ascii(text), fg=colour))


def send_three(function, queues, key):
    """Raises Failure with a sentence for each unexpected result."""
    wrong = []
    for number, (title, sent, expected, places) in enumerate(WEBHOOKS, start=1):
        click.echo(f"\n{number}  {title}")
        show("sent", sent.decode())
        status, _, response = function.send(Webhook(sent, NOBODYS_KEY if expected == 401 else key))
        colour = "green" if status == 200 else "red"
        show("response", f"{status} {response}", colour)
        show("log", json.loads(function.log())["result"], colour)
        for queue in queues:
            bodies = [body for body, _ in queue.take()]
            show(queue.name, " ".join(bodies) or "-", "green" if bodies else None)
            if bodies != ([sent.decode()] if queue.name in places else []):
                wrong.append(f"{title}: the queue {queue.name} received {bodies}.")
        if status != expected:
            wrong.append(f"{title}: the response is {status}; expected {expected}.")
    if wrong:
        raise Failure("\n".join(wrong))
    click.echo("\nAll as expected: the forged webhook was rejected, the others reached the right queues.")


def invite(function, key):
    seconds = function.environment["WEBHOOK_TOLERANCE_SECONDS"]
    click.echo(f"""
The function keeps running until Ctrl-C. Each further log line and message is shown here.

   URL          {function.url} (leads to the function alone, so a tunnel may expose it)
   tolerance    {seconds} seconds{" (old timestamps are accepted)" if seconds == "0" else ""}

Send a signed webhook (`--help` explains others), or run the smoke test:

export WEBHOOK_SECRET={key if key == KEY else "'your key'"}
python3 -m operate.sign curl {function.url} --status failed | sh
make smoke URL={function.url}
""")


def show_further(function, queues):
    while True:
        for line in function.log_lines():
            show(time.strftime("%H:%M:%S"), line)
        for queue in queues:
            for body, attributes in queue.take():
                show(queue.name, f"{body} {json.dumps(attributes)}")
        function.check()
        time.sleep(0.5)


@click.command(help=__doc__)
@click.option("--stay", is_flag=True, help="Keep the function running until Ctrl-C.")
@click.option("--port", default=9000, help="With --stay: the port of the URL.", envvar="LAMBDA_PORT", **PORT)
@click.option("--sns-port", default=4100, help="With --stay: the port of SNS and SQS.", envvar="SNS_PORT", **PORT)
def main(stay, port, sns_port):
    """Reads WEBHOOK_SECRET and WEBHOOK_TOLERANCE_SECONDS, and passes them to the function, which checks them."""
    settings = {
        name: os.environ.get(name) or SETTINGS[name] for name in ["WEBHOOK_SECRET", "WEBHOOK_TOLERANCE_SECONDS"]
    }
    try:
        key, *_ = signing_keys(settings)
    except InvalidKey as error:
        raise Failure(f"{error}") from None
    emulators.isolate(os.environ)
    # Stops the emulators too if the terminal is closed.
    for number in [signal.SIGTERM, signal.SIGHUP]:
        signal.signal(number, lambda *_: sys.exit(1))
    click.echo("Starting the function (in a clone, it is compiled first) and emulators of Lambda, SNS and SQS")
    lambda_port = emulators.free_port()
    with front(port if stay else 0, lambda_port) as url, emulators.sns(sns_port if stay else None) as sns:
        topic = sns.topic("pollo-outcomes")
        queues = [sns.subscribed_queue(topic, name, **policy) for name, policy in QUEUES.items()]
        settings["SNS_TOPIC_ARN"] = topic
        with emulators.function(emulators.binary(), sns, lambda_port, url, **settings) as function:
            click.echo("\nThe queues of the topic:")
            for name, policy in QUEUES.items():
                show(name, policy.get("FilterPolicy", "no filter policy"))
            send_three(function, queues, key)
            if stay:
                invite(function, key)
                with contextlib.suppress(KeyboardInterrupt):
                    show_further(function, queues)


if __name__ == "__main__":
    main()
