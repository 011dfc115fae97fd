"""Tests a deployed function: `make smoke STACK=pollo-webhook`, or URL=..."""

import re
import secrets
import time

from operate.function_url import LOCAL, TIMEOUT_SECONDS, exchange
from operate.log import SMOKE, parse
from operate.pollo import PUBLISHED_KEY, Webhook, key_bytes
from operate.terminal import URL, YES, Failure, click, confirm, keys, printable, say, setting

# Lambda could not run the binary, such as one for another architecture.
NOT_STARTED = re.compile("exec format error|Runtime.InvalidEntrypoint")

# CloudWatch returns a line only some seconds after it was written.
WAITS_SECONDS = [0, 2, 3, 5, 10]


@click.command()
@setting("STACK", "The name of the stack.")
@URL
@YES
def smoke(stack, url, yes):
    """Tests a deployed function: make smoke STACK=pollo-webhook, or URL=...

    Sends a success signed with each key in WEBHOOK_SECRET, which the function must publish, and two that it must
    reject: a forged one, and one that is signed with the published test key. With STACK, also checks the topic's
    subscriptions and searches the log for causes. Without STACK, no AWS credentials are needed.
    """
    if not stack and not url:
        raise Failure("Neither STACK nor URL is set: make smoke STACK=pollo-webhook, or URL=https://…")
    own_keys = keys()
    outputs = read_stack(stack) if stack else None
    url = url or outputs["WebhookUrl"]
    has_published_key = key_bytes(PUBLISHED_KEY) in map(key_bytes, own_keys)
    if has_published_key and not LOCAL.match(url):
        raise Failure(
            "WEBHOOK_SECRET contains the published test key, which everyone can read. Nothing was sent: give the "
            "stack the key from Pollo's webhook page only."
        )
    start = time.time()
    task_id = f"{SMOKE}{time.time_ns()}"
    say(
        f"Sends a success of the task {task_id} to {url}. Every subscriber receives it, unless its filter policy "
        f"excludes {SMOKE}.\nThen sends what must be rejected, which can raise the alarm WrongSignatures."
    )
    confirm("Send them?", yes)
    body = f'{{"taskId":"{task_id}","status":"succeed"}}'.encode()

    def sent(name, key):
        response = exchange(url, Webhook(body, key).headers(), body, TIMEOUT_SECONDS)
        say(f"{name}: {response}")
        return response

    signed = [sent(f"Signed with key {number}", key) for number, key in enumerate(own_keys, start=1)]
    failed = [response for response in signed if not response.message_id]
    causes = [f"A signed webhook must be published. {response.cause()}" for response in failed]
    statuses = {response.status for response in failed}
    forged = sent("Forged", secrets.token_urlsafe(32))
    if forged.status != 401 and forged.status not in statuses:
        causes.append("A forged webhook must be rejected with 401: this is not the URL of the function.")
    elif not has_published_key and sent("Signed with the published test key", PUBLISHED_KEY).status == 200:
        causes.append(
            "The function accepts the published test key, which everyone can read: anyone can forge webhooks. "
            "Deploy again with the key from Pollo's webhook page only."
        )
    if outputs and any(status >= 500 for status in statuses):
        say(f"Reading {outputs['LogGroupName']}, which can take 20 seconds")
        causes.append(logged_cause(outputs["LogGroupName"], start, task_id))
    if causes:
        raise Failure("\n".join(dict.fromkeys(causes)))
    say("The function works.")


def read_stack(name):
    """The outputs of the stack. Prints a warning if its topic has no confirmed subscription."""
    from operate import aws

    outputs = aws.read_stack(name)
    aws.warn_of_no_subscription(outputs["TopicArn"])
    return outputs


def logged_cause(group, start, task_id):
    """The cause, as a sentence, in the log from `start` (Unix seconds) on."""
    from operate import aws

    log = aws.Log(group)
    for wait in WAITS_SECONDS:
        time.sleep(wait)
        try:
            # This machine's clock may be a minute ahead.
            lines, _ = log.read(start - 60, time.time())
        except Failure as failure:
            return f"The function's log cannot be read. {failure}"
        for _, message in reversed(lines):
            line = parse(message)
            is_ours = line.get("result") == "not_published" and line.get("taskId") == task_id
            if is_ours or line.get("result") in {"not_configured", "panic"} or NOT_STARTED.search(message):
                return f"The log says: {printable(message.strip())}"
    return f"{group} does not contain the cause yet."


if __name__ == "__main__":
    smoke()
