"""Sends every authentic outcome that was not published again: `make replay STACK=pollo-webhook [SINCE=6h]`.

The outcomes come from the stack's log, which has the bodies that Pollo signed. This command signs them with the first
key in WEBHOOK_SECRET and sends them to the stack's URL, because only the function may publish. URL=... sends them to
another URL, such as that of an HTTP API. DRY=1 only shows the outcomes. YES=1 sends without asking.
"""

import time
from datetime import UTC, datetime

from operate import settings, terminal
from operate.function_url import Unreachable, post
from operate.log import read_log
from operate.pollo import Webhook
from operate.stack import read_stack
from operate.terminal import Failure, printable
from operate.unpublished import PATTERN, unpublished

# The function responds within 8 seconds of its start.
TIMEOUT_SECONDS = 20

# Every other webhook would get the same of these responses.
HOPELESS = {401, 403, 404}

# A replay stops when the function or SNS was not available for this many webhooks in a row.
FAILURES_IN_A_ROW = 3

HEADINGS = ["TASK", "STATUS", "REASON", "TRIES", "FIRST TRY (UTC)", "LAST TRY (UTC)"]


def main():
    name = settings.stack()
    if not name:
        raise Failure("STACK is not set: make replay STACK=pollo-webhook")
    start = time.time() - settings.since(default="72h")
    dry, yes = settings.switch("DRY"), settings.switch("YES")
    key = None if dry else settings.keys()[0]
    stack = read_stack(name)
    url = settings.url() or stack.webhook_url

    print(f"Reading {stack.log_group} from {utc(start)} UTC on")
    outcomes = unpublished(read_log(stack.log_group, start, PATTERN))
    if not outcomes:
        print("Nothing to replay: no authentic outcome was left unpublished.")
        return 0
    print(f"\n{table(outcomes)}\n")
    replayable = [outcome for outcome in outcomes if outcome.body is not None]
    without_body = [task(outcome) for outcome in outcomes if outcome.body is None]
    if without_body:
        print(
            f"The log has no body of {', '.join(without_body)}, because it keeps none over 262,144 bytes. "
            "This cannot be replayed: ask Pollo's API for the results.\n"
        )
    if dry:
        return 0
    published = 0
    if replayable:
        terminal.confirm(f"Send {len(replayable)} of {len(outcomes)} to {url}?", yes)
        published = replay(replayable, url, key)
    print(f"Published {published} of {len(outcomes)}.")
    return 0 if published == len(outcomes) else 1


def utc(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def task(outcome):
    """The name of an outcome in the output."""
    return printable(outcome.task_id or f"webhook {outcome.webhook_id}")


def table(outcomes):
    rows = [HEADINGS]
    for outcome in outcomes:
        status, reason = printable(outcome.status or "-"), printable(outcome.reason)
        tries = [utc(milliseconds / 1000) for milliseconds in [outcome.first_try, outcome.last_try]]
        rows.append([task(outcome), status, reason, str(outcome.tries), *tries])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def replay(outcomes, url, key):
    """Sends the outcomes, the oldest first, and prints each result. Returns how many were published."""
    published = failures = 0
    for sent, outcome in enumerate(outcomes, start=1):
        label = f"{task(outcome)}  {printable(outcome.status or '-')}"
        signed = webhook(outcome, key)
        try:
            response = post(url, signed.body, signed.headers(), TIMEOUT_SECONDS)
        except Unreachable as unreachable:
            # The outcome may have been published. The next replay finds that in the log.
            print(f"{label}  {unreachable}")
            status = None
        else:
            status = response.status
            if response.message_id:
                published += 1
                print(f"{label}  published, message id {printable(response.message_id)}")
            else:
                print(f"{label}  not published: {response}\n    {response.cause()}")
        failures = failures + 1 if status is None or status == 429 or status >= 500 else 0
        if (status in HOPELESS or failures == FAILURES_IN_A_ROW) and sent < len(outcomes):
            print(f"Stopped: {len(outcomes) - sent} more were not sent, because they would fail in the same way.")
            break
    return published


def webhook(outcome, key):
    """The same bytes, signed now.

    Keeps the id of Pollo's webhook: subscribers recognise duplicates by the attribute `webhookId`, and a later replay
    finds the id in the log. This content type makes Lambda pass the body in Base64, so that bytes that are not UTF-8
    arrive too.
    """
    replayed = Webhook(outcome.body, key, content_type="application/octet-stream")
    original = outcome.webhook_id or ""
    if original and original.isascii() and original.isprintable():
        replayed.id = original
    return replayed


if __name__ == "__main__":
    terminal.run(main)
