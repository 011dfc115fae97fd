"""Sends every authentic outcome that was not published once more: `make replay STACK=pollo-webhook [SINCE=6h]`.

The outcomes come from the stack's log, as Pollo has signed them. They are signed anew with the first key in WEBHOOK_SECRET
and sent to the stack's URL, because nobody but the function may publish. URL=... sends them elsewhere, such as to an HTTP
API in front of the function. DRY=1 only shows them, and YES=1 answers the question.
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

# After these responses, every other webhook would get the same.
HOPELESS = {401, 403, 404}

# A replay ends when the function or SNS was not available for so many webhooks in a row.
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
    """What an outcome is called."""
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
    """Sends the outcomes, the oldest first, and says what becomes of each. Gives the number of those published."""
    published = failures = 0
    for sent, outcome in enumerate(outcomes, start=1):
        label = f"{task(outcome)}  {printable(outcome.status or '-')}"
        signed = webhook(outcome, key)
        try:
            response = post(url, signed.body, signed.headers(), TIMEOUT_SECONDS)
        except Unreachable as unreachable:
            # It may have been published all the same, which the log will tell.
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

    The id is that of Pollo's own webhook: subscribers find it in the attribute `webhookId`, and so recognise what they
    may have received already, and a later replay finds it in the log. The content type makes Lambda hand the body over in
    Base64, so that bytes which are not UTF-8 arrive too.
    """
    replayed = Webhook(outcome.body, key, content_type="application/octet-stream")
    original = outcome.webhook_id or ""
    if original and original.isascii() and original.isprintable():
        replayed.id = original
    return replayed


if __name__ == "__main__":
    terminal.run(main)
