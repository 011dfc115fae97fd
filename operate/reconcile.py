"""Asks Pollo's API for outcomes that never arrived, and sends them: `make reconcile STACK=pollo-webhook`."""

import json
import os
import re
import sys
import time
from dataclasses import replace
from urllib.parse import quote

from operate.function_url import LOCAL, Unreachable, exchange
from operate.log import SMOKE, Outcome
from operate.replay import find, is_old, offer, table
from operate.terminal import DRY, SINCE, STACK, UNTIL, URL, YES, click, keys, printable, say, setting

# A request that exceeds Pollo's limit is repeated, after as many seconds as Retry-After says, or these.
TRIES, WAIT_SECONDS, MAX_WAIT_SECONDS = 4, 5, 60

# Some editors start a file with a byte order mark.
IDS = click.File(encoding="utf-8-sig", errors="replace")


class Unknown(Exception):
    """Why Pollo does not say how a task has ended."""


class Rejected(Unknown):
    """Pollo would respond to every other request in the same way."""


def api_url(text):
    """The base of the API. The key is sent to https only, and to servers on this machine."""
    if not text.startswith("https://") and not LOCAL.match(text):
        raise click.BadParameter("this is not an https URL.")
    return text.rstrip("/")


@click.command()
@STACK
@setting("TASKS", "A file with task ids, one a line, or - for standard input.", type=IDS)
@setting("POLLO_API_URL", "Pollo's API.", default="https://pollo.ai/api/platform", type=api_url, metavar="URL")
@setting("AGAIN", "Also send TASKS that were published, such as when nobody had subscribed.", is_flag=True)
@SINCE
@UNTIL
@DRY
@YES
@URL
def reconcile(stack, tasks, pollo_api_url, again, since, until, dry, yes, url):
    """Asks Pollo for outcomes that were not published, and sends them: make reconcile STACK=pollo-webhook.

    Without TASKS, asks for the outcomes that the log shows without a body. POLLO_API_KEY is the key of Pollo's API. The
    outcomes are signed with the first key in WEBHOOK_SECRET. Their webhook ids start with `reconciled-`, because their
    bodies are not Pollo's own.
    """
    from operate import aws

    api_key = os.environ.get("POLLO_API_KEY", "").strip()
    # The error of an invalid header would show the key.
    if not api_key or not api_key.isascii() or not api_key.isprintable():
        raise click.UsageError("POLLO_API_KEY is not set to a key of Pollo's API.")
    key = None if dry else keys()[0]
    listed = tasks and dict.fromkeys(filter(None, map(str.strip, tasks)))
    outputs = aws.read_stack(stack)
    found, published, complete = find(aws.Log(outputs["LogGroupName"]), since, until)
    logged = {outcome.task_id: outcome for outcome in found if outcome.task_id}
    if listed is None:
        listed = [task for task, outcome in logged.items() if outcome.body is None and not is_old(outcome, since)]
    done = set() if again else published
    wanted = [task for task in listed if task not in done and not task.startswith(SMOKE)]
    if len(wanted) < len(listed):
        say(f"{len(listed) - len(wanted)} of {len(listed)} tasks were published, or are smoke tests.")
    outcomes, all_known = [], True
    for task in wanted:
        try:
            generations = ask(pollo_api_url, api_key, task)
        except Unknown as unknown:
            say(f"{printable(task)}  unknown: {unknown}")
            all_known = False
            if isinstance(unknown, Rejected):
                break
            continue
        statuses = {generation["status"] for generation in generations}
        if statuses & {"waiting", "processing"}:
            say(f"{printable(task)}  still running")
            continue
        status = "succeed" if "succeed" in statuses else "failed"
        body = json.dumps({"taskId": task, "status": status, "generations": generations}, separators=(",", ":"))
        outcome = logged.get(task) or Outcome(task, status, reason="not in the log")
        id = f"reconciled-{quote(task, safe='')}"
        outcomes.append(replace(outcome, status=status, body=body.encode(), webhook_id=id))
    say(f"\n{table(outcomes)}\n" if outcomes else "Nothing to send: no task has ended without being published.")
    all_sent = dry or offer(outcomes, outputs, url, key, yes)
    if not (all_sent and all_known and complete):
        sys.exit(1)


def ask(api, key, task):
    """The generations of a task. Raises Unknown if Pollo does not name them."""
    path = f"generation/{quote(task, safe='')}/status"
    # Version 1, and what Pollo calls legacy.
    for url in [f"{api}/v1/{path}", f"{api}/{path}"]:
        response = get(url, key)
        if response.status != 404:
            break
    status, fields = response.status, response.fields
    if not fields:
        raise Unknown(f"{status}, and not a response of Pollo's API")
    if status in {401, 403}:
        raise Rejected(f"{status}, Pollo's API rejects POLLO_API_KEY: stopped")
    if status == 404:
        raise Unknown("404, Pollo does not know the task")
    # The legacy response is seen with and without the envelope `code`, `message`, `data`, and with other names.
    data = fields["data"] if isinstance(fields.get("data"), dict) else fields
    generations = data.get("generations") or data.get("result")
    known = ["waiting", "processing", "succeed", "failed"]
    if (
        status != 200
        or data.get("taskId", task) != task
        or not generations
        or not isinstance(generations, list)
        or not all(isinstance(each, dict) and each.get("status") in known for each in generations)
    ):
        raise Unknown(f"{status}, a response that this command does not understand")
    for generation in generations:
        if generation.get("videoUrl"):
            generation["url"] = generation["videoUrl"]
    return generations


def get(url, key):
    """Pollo's response. Waits if the limit of requests is reached."""
    # Cloudflare rejects requests without a User-Agent.
    headers = {"x-api-key": key, "Accept": "application/json", "User-Agent": "pollo-webhook-reconcile"}
    for _ in range(TRIES):
        try:
            response = exchange(url, headers)
        except Unreachable as unreachable:
            raise Unknown(f"{unreachable}") from None
        if response.status != 429:
            return response
        asked = re.fullmatch("[0-9]{1,9}", response.headers.get("Retry-After", ""))
        wait = min(int(asked[0]) if asked else WAIT_SECONDS, MAX_WAIT_SECONDS)
        say(f"Pollo's limit of requests is reached: waiting for {wait} seconds")
        time.sleep(wait)
    raise Rejected("429, Pollo's limit of requests is still reached: stopped")


if __name__ == "__main__":
    reconcile()
