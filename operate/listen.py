"""Shows each outcome that a deployed stack publishes: `make listen STACK=pollo-webhook`.

Subscribes a temporary queue to the topic until Ctrl-C. FILTER={"status":["failed"]} sets the filter policy.
FORWARD=http://localhost:3000/ sends each outcome to that URL by POST. SAVE=DIR saves each outcome as a sample event.
"""

import contextlib
import json
import re
import signal
import time
from pathlib import Path

from operate import settings, terminal
from operate.function_url import Unreachable, post
from operate.stack import read_stack
from operate.temporary_queue import subscribed
from operate.terminal import Failure, printable, show, show_message

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
TIMEOUT_SECONDS = 10
SAMPLE = Path(__file__).resolve().parent.parent / "events" / "succeed.json"


def main():
    name = settings.stack()
    if not name:
        raise Failure("STACK is not set: make listen STACK=pollo-webhook")
    filter_policy, folder = settings.filter_policy(), settings.folder("SAVE")
    url = settings.url("FORWARD", "one such as http://localhost:3000/")
    topic = read_stack(name).topic_arn
    for number in SIGNALS:
        signal.signal(number, end)
    with subscribed(name, topic, filter_policy) as messages, contextlib.suppress(KeyboardInterrupt):
        print(f"Listening to {topic}. Ctrl-C stops it.")
        for message in messages:
            handle(message, url, folder)
    print("\nRemoved the queue and its subscription.")
    return 0


def end(*_):
    """Stops listening at the first signal. Ignores further signals, so that the queue is removed."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def handle(message, url, folder):
    body = message["Body"]
    values = {name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()}
    print(f"\n{time.strftime('%H:%M:%S')}")
    show_message("published", body, values)
    if url:
        show("forwarded", forward(url, body, values))
    if folder:
        show("saved", save(folder, body, values, int(message["Attributes"]["SentTimestamp"])))


def forward(url, body, attributes):
    """Forwards an outcome. Returns the result as text."""
    headers = {f"x-pollo-{name}": value.encode() for name, value in attributes.items()}
    try:
        response = post(url, body.encode(), {"Content-Type": "application/json", **headers}, TIMEOUT_SECONDS)
    except Unreachable as unreachable:
        return f"not forwarded: {printable(str(unreachable))}"
    return f"{response}" if 200 <= response.status < 300 else f"not forwarded: {response}"


def save(folder, body, attributes, milliseconds):
    """Saves an outcome as a sample event without a signature. Returns the result as text."""
    event = json.loads(SAMPLE.read_text())
    event["body"] = body
    headers, request = event["headers"], event["requestContext"]
    del headers["x-webhook-signature"]
    headers["content-length"] = f"{len(body.encode())}"
    headers["x-webhook-id"] = attributes.get("webhookId", "")
    headers["x-webhook-timestamp"] = attributes.get("webhookTimestamp", "")
    # The time at which SNS delivered the outcome, some milliseconds after the webhook arrived.
    request["time"] = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(milliseconds / 1000))
    request["timeEpoch"] = milliseconds
    request["http"]["userAgent"] = "listen"
    name = f"{attributes.get('taskId', '')[:100]}-{attributes.get('status', '')[:100]}"
    path = folder / f"{re.sub('[^A-Za-z0-9_-]', '_', name)}.json"
    try:
        with path.open("x") as file:
            file.write(json.dumps(event, indent=2, sort_keys=True) + "\n")
    except OSError as error:
        return f"not saved: {path}: {error.strerror}"
    return f"{path}"


if __name__ == "__main__":
    terminal.run(main)
