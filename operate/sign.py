"""Signs a webhook as Pollo does, and prints a curl command that sends it: `python3 -m operate.sign curl URL`.

WEBHOOK_SECRET contains the key. Several keys make one signature each, as during a key rotation. Requires only Python.
"""

import argparse
import base64
import json
import os
import shlex
import sys
import time
from pathlib import Path

from operate.pollo import NOBODYS_KEY, InvalidKey, Webhook, signing_keys


def arguments():
    parser = argparse.ArgumentParser(prog="python3 -m operate.sign", description=__doc__)
    curl = parser.add_subparsers(required=True, metavar="curl").add_parser("curl", help="print a curl command")
    curl.add_argument("url", help="the function's URL")
    curl.add_argument("--task-id", default="cm9ap1d4e0001", help="taskId in the body")
    curl.add_argument("--status", choices=["succeed", "failed"], default="succeed", help="status in the body")
    curl.add_argument("--body", metavar="FILE", help="a file with the whole body, or - for standard input")
    curl.add_argument("--webhook-id", help="X-Webhook-Id [default: msg_ and the time]")
    curl.add_argument("--timestamp", help="X-Webhook-Timestamp [default: now, in Unix seconds]")
    curl.add_argument("--base64", action="store_true", help="send the body as bytes, for a body that is not UTF-8")
    curl.add_argument("--tampered", action="store_true", help="add a space to the body after signing")
    curl.add_argument("--forged", action="store_true", help="sign with a wrong key")
    curl.add_argument("--stale", action="store_true", help="sign with a timestamp of an hour ago")
    return parser.parse_args()


def read(options):
    """The body that the options ask for."""
    if options.body is None:
        # Without spaces, as Pollo's own sample prints it.
        body = {"taskId": options.task_id, "status": options.status}
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    return sys.stdin.buffer.read() if options.body == "-" else Path(options.body).read_bytes()


def sign(options, keys, body):
    """The headers of the webhook, with a signature by each key."""
    id = options.webhook_id or f"msg_{time.time_ns()}"
    timestamp = options.timestamp or str(int(time.time()) - (3600 if options.stale else 0))
    content_type = "application/octet-stream" if options.base64 else "application/json"
    signed = [Webhook(body, key, id, timestamp, content_type).headers() for key in keys]
    return signed[0] | {"X-Webhook-Signature": " ".join(headers["X-Webhook-Signature"] for headers in signed)}


def curl(options, headers, body):
    """A command for a POSIX shell."""
    words = [word for name, value in headers.items() for word in ["-H", f"{name}: {value}"]]
    command = ["curl", "-sS", "-i", options.url, *words]
    # An argument of a command cannot contain NUL.
    if options.base64 or b"\0" in body:
        return f"echo {base64.b64encode(body).decode()} | base64 -d | {shlex.join([*command, '--data-binary', '@-'])}"
    try:
        return shlex.join([*command, "--data-raw", body.decode()])
    except UnicodeDecodeError:
        sys.exit("The body is not UTF-8: add --base64.")


def main():
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit("Python 3.11 or newer is required; this is Python {}.{}.".format(*sys.version_info))
    options = arguments()
    try:
        keys, body = signing_keys(os.environ), read(options)
    except InvalidKey as error:
        sys.exit(f"{error}")
    except OSError as error:
        sys.exit(f"{options.body}: {error.strerror}.")
    headers = sign(options, [NOBODYS_KEY] if options.forged else keys, body)
    print(curl(options, headers, body + b" " if options.tampered else body))


if __name__ == "__main__":
    main()
