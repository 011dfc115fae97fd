"""Sends one webhook and reads its response and log line."""

import json
import re

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
