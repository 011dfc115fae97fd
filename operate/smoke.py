"""Tries a deployed function: `make smoke URL=...`, with the key in WEBHOOK_SECRET.

Sends a success signed with each key, which it publishes, and a forged one, which it must refuse.
"""

import os
import secrets
import sys
import time
import urllib.error
import urllib.request

from operate.pollo import InvalidKey, Webhook, key_texts, read_keys


def answer(url, webhook):
    """Gives the answer's status and its body."""
    request = urllib.request.Request(url, webhook.body, webhook.headers(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def main():
    url = sys.argv[1] if len(sys.argv) == 2 else ""
    keys = key_texts(os.environ.get("WEBHOOK_SECRET", ""))
    try:
        read_keys(os.environ.get("WEBHOOK_SECRET", ""))
    except InvalidKey as error:
        sys.exit(f"WEBHOOK_SECRET: {error}; expected the key from Pollo's webhook page")
    if not url.startswith(("https://", "http://")):
        sys.exit("URL=... must name the function's URL, the output WebhookUrl of the stack")
    task_id = f"smoke-{time.time_ns()}"
    body = f'{{"taskId":"{task_id}","status":"succeed"}}'.encode()
    print(f"The task's id is {task_id}: whatever subscribes to the topic will see it succeed.")
    webhooks = [(f"Signed with key {number}", key, 200) for number, key in enumerate(keys, start=1)]
    webhooks.append(("Forged", secrets.token_urlsafe(32), 401))
    wrong = False
    for title, key, expected in webhooks:
        status, text = answer(url, Webhook(body, key))
        wrong |= status != expected
        print(f"{title}: {status} {text}" + ("" if status == expected else f"  <- should have been {expected}"))
    if wrong:
        sys.exit("The function does not do what it must. Its log says why; docs/operations.md says what to look for.")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"The URL cannot be reached: {error}")
