"""Signs a webhook as Pollo does: `python3 -m operate.sign curl URL`, or `event` for a function-URL event.

WEBHOOK_SECRET contains the key. Several keys make one signature each, as during a key rotation. Requires only Python.
"""

import argparse
import base64
import json
import os
import shlex
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from operate.pollo import NOBODYS_KEY, InvalidKey, Webhook, key_texts, read_keys

HOST = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws"


def arguments():
    parser = argparse.ArgumentParser(prog="python3 -m operate.sign", description=__doc__)
    forms = parser.add_subparsers(dest="form", required=True, metavar="event | curl")
    event = forms.add_parser("event", help="print a function-URL event, for cargo lambda invoke and sam local invoke")
    curl = forms.add_parser("curl", help="print a curl command")
    curl.add_argument("url", help="the function's URL")
    for form in [event, curl]:
        form.add_argument("--task-id", default="cm9ap1d4e0001", help="taskId in the body")
        form.add_argument("--status", choices=["succeed", "failed"], default="succeed", help="status in the body")
        form.add_argument("--body", metavar="FILE", help="a file with the whole body, or - for standard input")
        form.add_argument("--webhook-id", help="X-Webhook-Id [default: msg_ and the time]")
        form.add_argument("--timestamp", help="X-Webhook-Timestamp [default: now, in Unix seconds]")
        form.add_argument("--base64", action="store_true", help="send the body as bytes, in Base64 in an event")
        form.add_argument("--tampered", action="store_true", help="add a space to the body after signing")
        form.add_argument("--forged", action="store_true", help="sign with a wrong key")
        form.add_argument("--stale", action="store_true", help="sign with a timestamp of an hour ago")
    return parser.parse_args()


def keys(forged):
    secret = os.environ.get("WEBHOOK_SECRET")
    if not secret:
        sys.exit("WEBHOOK_SECRET is not set; expected the Base64 key from Pollo's webhook page.")
    try:
        read_keys(secret)
    except InvalidKey as error:
        sys.exit(f"WEBHOOK_SECRET: {error}.")
    return [NOBODYS_KEY] if forged else key_texts(secret)


def read(options):
    """The body that the options ask for."""
    if options.body is None:
        # Without spaces, as Pollo's own sample prints it.
        body = {"taskId": options.task_id, "status": options.status}
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    try:
        return sys.stdin.buffer.read() if options.body == "-" else Path(options.body).read_bytes()
    except OSError as error:
        sys.exit(f"{options.body}: {error.strerror}.")


def sign(options):
    """The headers and the body of the webhook."""
    texts, body, now = keys(options.forged), read(options), time.time()
    webhook = Webhook(
        body,
        texts[0],
        id=options.webhook_id or f"msg_{time.time_ns()}",
        timestamp=options.timestamp or str(int(now - 3600 if options.stale else now)),
        content_type="application/octet-stream" if options.base64 else "application/json",
    )
    signed = [replace(webhook, key=text).headers() for text in texts]
    headers = {**signed[0], "X-Webhook-Signature": " ".join(each["X-Webhook-Signature"] for each in signed)}
    return headers, body + b" " if options.tampered else body


def text(body):
    try:
        return body.decode()
    except UnicodeDecodeError:
        sys.exit("The body is not UTF-8: add --base64.")


def event(options, headers, body):
    """The event of a function URL for the webhook, in payload format 2.0."""
    timestamp = options.timestamp or ""
    received = datetime.now(UTC)
    if timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 10:
        received = datetime.fromtimestamp(int(timestamp), UTC)
    sent = {name.lower(): value for name, value in headers.items()}
    forwarded = {"x-forwarded-for": "192.0.2.1", "x-forwarded-port": "443", "x-forwarded-proto": "https"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"content-length": str(len(body)), "host": HOST, **forwarded, **sent},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": HOST.partition(".")[0],
            "domainName": HOST,
            "domainPrefix": HOST.partition(".")[0],
            "http": {
                "method": "POST",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "sign",
            },
            "requestId": "5b3f4f0e-0000-4000-8000-000000000000",
            "routeKey": "$default",
            "stage": "$default",
            "time": received.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(received.timestamp()) * 1000,
        },
        "body": base64.b64encode(body).decode() if options.base64 else text(body),
        "isBase64Encoded": options.base64,
    }


def curl(options, headers, body):
    """A command for a POSIX shell."""
    words = [word for name, value in headers.items() for word in ["-H", f"{name}: {value}"]]
    command = ["curl", "-sS", "-i", options.url, *words]
    # An argument of a command cannot contain NUL.
    if not options.base64 and b"\0" not in body:
        return shlex.join([*command, "--data-raw", text(body)])
    return f"echo {base64.b64encode(body).decode()} | base64 -d | {shlex.join([*command, '--data-binary', '@-'])}"


def main():
    options = arguments()
    headers, body = sign(options)
    if options.form == "curl":
        print(curl(options, headers, body))
    else:
        print(json.dumps(event(options, headers, body), indent=2, ensure_ascii=False, sort_keys=True))


if __name__ == "__main__":
    main()
