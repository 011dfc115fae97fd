"""Finds the cause of a failed smoke test in the log of the function and Lambda."""

import time

from operate import aws
from operate.line import parse, text
from operate.log import read_log
from operate.terminal import Failure, printable

# CloudWatch returns a line only some seconds after it was written.
WAITS_SECONDS = [0, 2, 3, 5, 10]

# This machine's clock may be ahead.
EARLIER_SECONDS = 60


def logged_cause(group, start, task_id):
    """The cause, as a sentence, in the log from `start` (Unix seconds) on."""
    for wait in WAITS_SECONDS:
        time.sleep(wait)
        try:
            causes = [cause(message, task_id) for _, message in read_log(group, start - EARLIER_SECONDS)]
        except aws.ERRORS as error:
            return f"The function's log cannot be read. {aws.sentence(error)}"
        except Failure as failure:
            return f"{failure}"
        for found in filter(None, reversed(causes)):
            return found
    return f"{group} does not contain the cause yet."


def cause(message, task_id):
    """Why the function did not start, failed, or could not publish the outcome of `task_id`, if `message` says so."""
    if "exec format error" in message or "Runtime.InvalidEntrypoint" in message:
        return (
            "Lambda cannot run the binary: most likely it was built for another architecture than the function has. "
            "Check the line Architectures in template.yaml, build again and deploy again."
        )
    line = parse(message)
    match text(line, "result"):
        case "not_configured":
            return f"The function does not start: {printable(text(line, 'detail') or '')}"
        case "panic":
            return f"The function panicked at {printable(text(line, 'location') or '')}."
        case "not_published" if text(line, "taskId") == task_id:
            code, detail = [printable(text(line, name) or "") for name in ["code", "detail"]]
            return f"SNS did not accept the message: {code}: {detail}. docs/operations.md explains the code."
    return None
