"""Sends one webhook and reads its response and log line."""

import json
import re
from urllib.parse import urljoin

import urllib3

from local.emulators import CHECKOUT, PATIENCE

SUCCESS = b'{"taskId":"cm9ap1d4e0001","status":"succeed"}'
FAILURE = b'{"taskId":"cm9ap1d4e0001","status":"failed"}'

REQUEST_ID = re.compile("[0-9a-f-]{36}")


def exchange(function, webhook):
    """Sends `webhook`. Returns the status and the body of the response, and the log line."""
    status, headers, body = function.send(webhook)
    line = json.loads(function.log())
    assert headers["Content-Type"] == "application/json"
    assert line["httpStatus"] == status
    assert REQUEST_ID.fullmatch(line["requestId"])
    return status, json.loads(body), line


def event(webhook):
    """The event of a function URL, in payload format 2.0, for a webhook with a text body."""
    made = json.loads((CHECKOUT / "events" / "succeed.json").read_text())
    made["headers"] |= {name.lower(): value for name, value in webhook.headers().items()}
    return {**made, "body": webhook.body.decode()}


def invoke(url, event, function="pollo-webhook"):
    """Sends an event to Lambda's API Invoke, on the port of `url`. Returns the status and the body of the response."""
    url = urljoin(url, f"/2015-03-31/functions/{function}/invocations")
    response = urllib3.request("POST", url, body=json.dumps(event), timeout=PATIENCE, retries=False)
    return response.status, response.data
