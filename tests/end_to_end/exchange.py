"""Sends one webhook and reads its response and log line."""

import json

SUCCESS = b'{"taskId":"cm9ap1d4e0001","status":"succeed"}'


def exchange(function, webhook):
    """Sends `webhook`. Returns the status and the body of the response, and the log line."""
    status, headers, body = function.send(webhook)
    line = json.loads(function.log())
    assert headers["Content-Type"] == "application/json"
    assert line["httpStatus"] == status
    return status, json.loads(body), line
