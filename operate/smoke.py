"""Tests a deployed function: `make smoke STACK=pollo-webhook`, or URL=..., with its key or keys in WEBHOOK_SECRET.

Sends a success signed with each key, which the function must publish, and a forged one, which the function must reject.
YES=1 sends without asking. With STACK, also checks the topic's subscriptions and searches the log for causes.
"""

import secrets
import time

from operate import aws, settings, terminal
from operate.diagnosis import logged_cause
from operate.function_url import post
from operate.pollo import Webhook
from operate.stack import read_stack
from operate.terminal import Failure
from operate.topic import client, subscriptions
from operate.unpublished import SMOKE

# The function responds within 8 seconds of its start.
TIMEOUT_SECONDS = 10

# For these responses, the function's log has the cause.
EXPLAINED_IN_THE_LOG = {500, 502, 503}


def main():
    name, url = settings.stack(), settings.url()
    if not name and not url:
        raise Failure("Neither STACK nor URL is set: make smoke STACK=pollo-webhook, or URL=https://…")
    yes, keys = settings.switch("YES"), settings.keys()
    stack = read_stack(name) if name else None
    url = url or stack.webhook_url
    if stack:
        warn_of_no_subscription(stack.topic_arn)

    start = time.time()
    task_id = f"{SMOKE}{time.time_ns()}"
    print(
        f"Sends a success of the task {task_id} to {url}. Every subscriber receives it, unless its filter policy "
        f"excludes {SMOKE}.\nThen sends a forged one, which can raise the alarm UnverifiedWebhooks."
    )
    terminal.confirm("Send them?", yes)
    body = f'{{"taskId":"{task_id}","status":"succeed"}}'.encode()
    failed = []
    for number, key in enumerate(keys, start=1):
        response = post(url, body, Webhook(body, key).headers(), TIMEOUT_SECONDS)
        print(f"Signed with key {number}: {response}")
        failed += [] if response.message_id else [response]
    forged = post(url, body, Webhook(body, secrets.token_urlsafe(32)).headers(), TIMEOUT_SECONDS)
    print(f"Forged: {forged}")

    causes = [f"A signed webhook must be published. {response.cause()}" for response in failed]
    if forged.status != 401 and forged.status not in {response.status for response in failed}:
        causes.append("A forged webhook must be rejected with 401: this is not the URL of the function.")
    if stack and EXPLAINED_IN_THE_LOG & {response.status for response in failed}:
        print(f"Reading {stack.log_group}, which can take 20 seconds")
        causes.append(logged_cause(stack.log_group, start, task_id))
    if causes:
        raise Failure("\n".join(dict.fromkeys(causes)))
    print("The function works.")
    return 0


def warn_of_no_subscription(topic_arn):
    """Prints a warning if the topic has no confirmed subscription."""
    try:
        confirmed = subscriptions(client(topic_arn), topic_arn)
    except aws.ERRORS as error:
        print(f"The topic's subscriptions cannot be listed. {aws.sentence(error)}")
        return
    if not confirmed:
        print(
            f"Warning: {topic_arn} has no confirmed subscription. SNS accepts messages, but nobody receives them: "
            "subscribe before Pollo gets the URL."
        )


if __name__ == "__main__":
    terminal.run(main)
