"""Finds authentic outcomes that were not published in the function's log."""

from dataclasses import dataclass, field

from operate.line import parse, text, verified_body

# The results of authentic webhooks that were not published.
NOT_PUBLISHED = [
    "not_published",
    "timestamp_outside_tolerance",
    "timestamp_unreadable",
    "not_an_outcome",
    "too_large",
]

# Selects the lines that `unpublished` reads, in CloudWatch's filter pattern syntax.
PATTERN = "{ " + " || ".join(f'$.result = "{result}"' for result in ["published", *NOT_PUBLISHED]) + " }"

# The prefix of the task ids of smoke tests, which are not tasks of Pollo.
SMOKE = "smoke-"


@dataclass
class Outcome:
    task_id: str | None
    status: str | None
    # Unix milliseconds.
    first_try: int
    last_try: int = 0
    tries: int = 0
    # Why the last try failed.
    reason: str = ""
    # The last body in the log, and the id of its webhook. There is no body if all were too large to log.
    body: bytes | None = None
    webhook_id: str | None = None
    webhook_ids: set = field(default_factory=set)

    def failed(self, time, line, body):
        """Counts a failed try, which `line` describes."""
        self.last_try = time
        self.tries += 1
        code = text(line, "code")
        self.reason = line["result"] + (f" ({code})" if code else "")
        webhook_id = text(line, "webhookId")
        self.webhook_ids |= {webhook_id} if webhook_id else set()
        if body is not None or self.body is None:
            self.body, self.webhook_id = body, webhook_id


def unpublished(messages):
    """The outcomes that were not published, from `messages`: pairs of Unix milliseconds and text, the oldest first.

    A task with its status is one outcome, no matter how often Pollo sent it. It is published if any try was published.
    An outcome without a task id or a status is identified by its body. The line `published` has no body, so after a
    replay, such an outcome is recognised by its webhook's id.
    """
    outcomes, published, published_webhooks = {}, set(), set()
    for time, message in messages:
        line = parse(message)
        result, task_id, status = [text(line, name) for name in ["result", "taskId", "status"]]
        if result == "published":
            published.add((task_id, status))
            published_webhooks.add(text(line, "webhookId"))
        elif result in NOT_PUBLISHED and not (task_id or "").startswith(SMOKE):
            body = verified_body(line)
            if task_id and status:
                identity = task_id, status
            else:
                identity = body if body is not None else text(line, "webhookId") or text(line, "requestId")
            outcome = outcomes.setdefault(identity, Outcome(task_id, status, time))
            outcome.failed(time, line, body)
    return [
        outcome
        for identity, outcome in outcomes.items()
        if identity not in published
        and (isinstance(identity, tuple) or outcome.webhook_ids.isdisjoint(published_webhooks))
    ]
