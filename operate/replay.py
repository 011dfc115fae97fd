"""Sends authentic outcomes that were not published again: `make replay STACK=pollo-webhook`."""

import sys
import time
from datetime import UTC, datetime

from operate.function_url import Unreachable, exchange
from operate.log import PATTERN, PUBLISHED, unpublished
from operate.pollo import Webhook
from operate.terminal import DRY, SINCE, STACK, UNTIL, URL, YES, click, confirm, keys, printable, say

# A replay stops after one of these responses, which all others would get too, and after so many failures in a row.
HOPELESS, FAILURES_IN_A_ROW = {401, 403, 404}, 3

# Whether an outcome was published is read from at least so far back. Pollo keeps results for as long.
PUBLISHED_SECONDS = 14 * 24 * 60 * 60


@click.command()
@STACK
@SINCE
@UNTIL
@DRY
@YES
@URL
def replay(stack, since, until, dry, yes, url):
    """Sends every authentic outcome that was not published again: make replay STACK=pollo-webhook.

    The outcomes come from the stack's log, which has the bodies that Pollo signed. This command signs them with the
    first key in WEBHOOK_SECRET and sends them to the stack's URL, because only the function may publish.
    """
    from operate import aws

    key = None if dry else keys()[0]
    outputs = aws.read_stack(stack)
    found, _, complete = find(aws.Log(outputs["LogGroupName"]), since, until)
    say(f"\n{table(found)}\n" if found else "Nothing to replay: no authentic outcome was left unpublished.")
    for outcome in found:
        if is_old(outcome, since):
            say(f"{task(outcome)} is not sent: signed before SINCE. Perhaps somebody sends a captured webhook again.")
        elif outcome.body is None and outcome.altered:
            say(f"{task(outcome)} is not sent: the body in the log is not as Pollo signed it. Run make reconcile.")
        elif outcome.body is None:
            say(f"{task(outcome)} is not sent: the log keeps no body over 30,000 bytes. Run make reconcile.")
    outcomes = [outcome for outcome in found if not is_old(outcome, since)]
    all_sent = dry or offer(outcomes, outputs, url, key, yes)
    if not (all_sent and complete):
        sys.exit(1)


def find(log, since, until):
    """The outcomes that were not published, the ids of the tasks that were, and whether everything could be read."""
    now = time.time()
    until = until or now
    if until <= since:
        raise click.UsageError("UNTIL is not after SINCE.")
    say(f"Reading {log.group} from {utc(since)} UTC on")
    lines, unread = log.read(since, until, PATTERN)
    later, unread_later = log.read(unread or until, now, PUBLISHED)
    earlier, unread_earlier = log.read(now - PUBLISHED_SECONDS, since, PUBLISHED)
    if unread:
        say(
            f"The log from {utc(unread)} to {utc(until)} UTC was not read: there is too much of it, or CloudWatch "
            "returned a page twice. Set SINCE and UNTIL to shorter times to read it in parts."
        )
    if unread_later or unread_earlier:
        say("Not all published outcomes were read: if the list contains one, sending publishes it a second time.")
    complete = not (unread or unread_later or unread_earlier)
    return *unpublished(earlier + lines + later, since, until), complete


def is_old(outcome, since):
    return outcome.signed is not None and outcome.signed < since


def utc(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def age(seconds):
    return f"{int(seconds // 60)}m" if seconds < 7200 else f"{int(seconds // 3600)}h"


def task(outcome):
    """The name of an outcome in the output."""
    return printable(outcome.task_id or f"webhook {outcome.webhook_id}")


def table(outcomes):
    rows, now = [["TASK", "STATUS", "REASON", "TRIES", "AGE", "FIRST TRY (UTC)", "LAST TRY (UTC)"]], time.time()
    for outcome in outcomes:
        times = [utc(tried / 1000) if tried else "-" for tried in [outcome.first_try, outcome.last_try]]
        texts = [printable(outcome.status or "-"), printable(outcome.reason), str(outcome.tries)]
        rows.append([task(outcome), *texts, "-" if outcome.signed is None else age(now - outcome.signed), *times])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def offer(outcomes, outputs, url, key, yes):
    """Sends the outcomes that have a body, after the user agrees. Returns whether all outcomes were published."""
    from operate import aws

    url = url or outputs["WebhookUrl"]
    sendable = [outcome for outcome in outcomes if outcome.body is not None]
    if sendable:
        aws.warn_of_no_subscription(outputs["TopicArn"])
        confirm(f"Send {len(sendable)} of {len(outcomes)} to {url}?", yes)
    published = send(sendable, url, key)
    if outcomes:
        say(f"Published {published} of {len(outcomes)}.")
    return published == len(outcomes)


def send(outcomes, url, key):
    """Sends the outcomes, the oldest first, and prints each result. Returns how many were published."""
    published = failures = 0
    for sent, outcome in enumerate(outcomes, start=1):
        label = f"{task(outcome)}  {printable(outcome.status or '-')}"
        # Lambda passes a body of this type in Base64, so that bytes that are not UTF-8 arrive too.
        webhook = Webhook(outcome.body, key, content_type="application/octet-stream")
        # Subscribers recognise duplicates by the id of Pollo's webhook, and so does a later replay.
        if outcome.webhook_id and outcome.webhook_id.isascii() and outcome.webhook_id.isprintable():
            webhook.id = outcome.webhook_id
        status = None
        try:
            response = exchange(url, webhook.headers(), webhook.body)
        except Unreachable as unreachable:
            # The outcome may have been published. The next replay finds that in the log.
            say(f"{label}  {unreachable}")
        else:
            status = response.status
            if response.message_id:
                published += 1
                say(f"{label}  published, message id {response.message_id}")
            else:
                say(f"{label}  not published: {response}\n    {response.cause()}")
        failures = failures + 1 if status is None or status == 429 or status >= 500 else 0
        if (status in HOPELESS or failures == FAILURES_IN_A_ROW) and sent < len(outcomes):
            say(f"Stopped: {len(outcomes) - sent} more were not sent, because they would fail in the same way.")
            break
    return published


if __name__ == "__main__":
    replay()
