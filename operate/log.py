"""Finds authentic outcomes that were not published in the lines of a function's log."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import datetime

# The results of authentic webhooks that were not published.
NOT_PUBLISHED = ["not_published", "timestamp_outside_tolerance", "timestamp_unreadable", "not_an_outcome", "too_large"]

# These select the lines that are read, in CloudWatch's filter pattern syntax.
PUBLISHED = '{ $.result = "published" }'
PATTERN = "{ " + " || ".join(f'$.result = "{result}"' for result in ["published", *NOT_PUBLISHED]) + " }"

# The prefix of the task ids of smoke tests, which are not tasks of Pollo.
SMOKE = "smoke-"


def parse(message):
    """The fields of a line that are text. Lambda's own lines are not all JSON."""
    try:
        line = json.loads(message)
    except ValueError:
        return {}
    return {name: value for name, value in line.items() if isinstance(value, str)} if isinstance(line, dict) else {}


def logged_body(line):
    """The body in a line, or None if it has none."""
    try:
        if "body" in line:
            return line["body"].encode()
        return base64.b64decode(line["bodyBase64"], validate=True)
    except (KeyError, ValueError):
        return None


def is_unaltered(line, body):
    """Whether the body is what the function received. A data protection policy can replace parts with asterisks."""
    # Version 0.2 logged no digest.
    return hashlib.sha256(body).hexdigest() == line["bodySha256"] if "bodySha256" in line else b"*" not in body


def unix_seconds(timestamp):
    """The time of a webhook's own timestamp, or None if the function would not read it."""
    if re.fullmatch("[0-9]{1,15}", timestamp):
        number = int(timestamp)
        # The function reads larger numbers as milliseconds.
        return number if number < 100_000_000_000 else number / 1000
    try:
        date = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return date.timestamp() if date.tzinfo else None


@dataclass
class Outcome:
    task_id: str | None
    status: str | None
    # Unix milliseconds.
    first_try: int = 0
    last_try: int = 0
    tries: int = 0
    # Why the last try failed.
    reason: str = ""
    # The newest timestamp of its webhooks, in Unix seconds. Pollo or a stranger can send an old webhook again.
    signed: float | None = None
    # The last body in the log as Pollo signed it, and the id of its webhook.
    body: bytes | None = None
    webhook_id: str | None = None
    # Whether the log has a body that is not as Pollo signed it.
    altered: bool = False
    webhook_ids: set = field(default_factory=set)

    def failed(self, time, line):
        """Counts a failed try, which `line` describes."""
        self.last_try = time
        self.tries += 1
        self.reason = line["result"] + (f" ({line['code']})" if "code" in line else "")
        self.signed = max(filter(None, [self.signed, unix_seconds(line.get("webhookTimestamp", ""))]), default=None)
        if "webhookId" in line:
            self.webhook_ids.add(line["webhookId"])
        body = logged_body(line)
        if body is not None and not is_unaltered(line, body):
            self.altered, body = True, None
        if body is not None or self.body is None:
            self.body, self.webhook_id = body, line.get("webhookId")


def unpublished(lines, since, until):
    """The outcomes that failed between `since` and `until` (Unix seconds) and were not published at any time.

    `lines` are pairs of Unix milliseconds and text. Also returns the ids of the tasks that were published.

    A task with its status is one outcome, no matter how often Pollo sent it. It is published if any try was published.
    An outcome without a task id or a status is identified by its body. The line `published` has no body, so after a
    replay, such an outcome is recognised by its webhook's id.
    """
    outcomes, published, published_webhooks = {}, set(), set()
    for time, message in lines:
        line = parse(message)
        result, task_id, status = [line.get(name) for name in ["result", "taskId", "status"]]
        if result == "published":
            published.add((task_id, status))
            published_webhooks.add(line.get("webhookId"))
        elif result in NOT_PUBLISHED and since <= time / 1000 <= until and not (task_id or "").startswith(SMOKE):
            other_identity = logged_body(line) or line.get("webhookId") or line.get("requestId")
            identity = (task_id, status) if task_id and status else other_identity
            outcomes.setdefault(identity, Outcome(task_id, status, first_try=time)).failed(time, line)
    remaining = [
        outcome
        for identity, outcome in outcomes.items()
        if identity not in published
        and (isinstance(identity, tuple) or outcome.webhook_ids.isdisjoint(published_webhooks))
    ]
    return remaining, {task_id for task_id, _ in published}
