"""The front port, which a tunnel may expose: every request reaches the function as a webhook, and nothing else."""

import json
import re
import socket
import time
from urllib.parse import urlsplit

import pytest

from local import emulators
from local.emulators import CHECKOUT, KEY, PATIENCE
from local.front import front
from operate.pollo import Webhook

NEXT = "/.rt/pollo-webhook/2018-06-01/runtime/invocation/next"
INVOKE = "/2015-03-31/functions/pollo-webhook/invocations"
EVENT = (CHECKOUT / "events" / "succeed.json").read_bytes()
BODY = b'{"taskId":"t","status":"succeed"}'


@pytest.fixture(scope="module")
def function():
    port = emulators.free_port()
    with emulators.sns() as sns, front(0, port) as url:
        topic = sns.topic("front")
        with emulators.function(emulators.binary(), sns, port, url, SNS_TOPIC_ARN=topic) as function:
            yield function


def send(function, sent):
    """Sends bytes over one connection. Returns the responses' statuses, their text, and the results in the log."""
    url = urlsplit(function.url)
    with socket.create_connection((url.hostname, url.port), PATIENCE) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    # The line of a response can arrive after it.
    time.sleep(0.1)
    results = [json.loads(line)["result"] for line in function.log_lines()]
    return [int(status) for status in re.findall(r"^HTTP/1.1 (\d+)", received, re.MULTILINE)], received, results


def request(method, target, body=b"", **headers):
    fields = {"Host": "tunnel.example", "Content-Length": str(len(body)), **headers}
    lines = [f"{method} {target} HTTP/1.1", *[f"{name.replace('_', '-')}: {fields[name]}" for name in fields]]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize("path", [NEXT, INVOKE])
@pytest.mark.parametrize(
    "prefix", ["", "/", "/a/..", "/lambda-url/pollo-webhook/..%2f..", "/%2e", "/?", "http://127.0.0.1"]
)
def test_a_path_of_the_emulator_reaches_only_the_function(function, prefix, path):
    assert send(function, request("GET", prefix + path))[::2] == ([405], ["method_not_allowed"])
    assert send(function, request("POST", prefix + path, EVENT))[::2] == ([400], ["header_missing"])


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
def test_a_web_page_of_another_origin_may_not_read_a_response(function, method):
    asked = {"Origin": "https://page.example", "Access_Control_Request_Method": "POST"}
    assert "access-control" not in send(function, request(method, "/", **asked))[1].lower()


def chunked(*parts):
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


# The function would log it as published.
HIDDEN = request("POST", INVOKE, EVENT)
CHUNKS = {"Transfer_Encoding": "chunked"}
HIDING = {
    "after another": (request("POST", "/") + HIDDEN, 400, ["header_missing"]),
    "after the chunks": (request("POST", "/", b"0\r\n\r\n" + HIDDEN, **CHUNKS), 400, ["header_missing"]),
    "in a chunk": (request("POST", "/", chunked(b"0\r\n\r\n" + HIDDEN), **CHUNKS), 400, ["header_missing"]),
    "instead of chunks": (request("POST", "/", HIDDEN, **CHUNKS), 400, []),
    "upgrade": (request("GET", NEXT, Upgrade="websocket", Connection="Upgrade"), 405, ["method_not_allowed"]),
    "tunnel": (request("CONNECT", "127.0.0.1:9001"), 405, ["method_not_allowed"]),
    "too large": (request("POST", "/", bytes(6 * 1024 * 1024 + 1)), 413, []),
}


@pytest.mark.parametrize(("sent", "status", "results"), HIDING.values(), ids=HIDING)
def test_no_request_hides_another_one(function, sent, status, results):
    assert send(function, sent)[::2] == ([status], results)


def test_an_old_webhook_arrives_on_any_path_and_in_chunks(function):
    headers = {
        name.replace("-", "_"): value for name, value in Webhook(BODY, KEY, timestamp="1767225600").headers().items()
    }
    sent = request("POST", "/a/b?c=d", chunked(BODY[:5], BODY[5:]), **headers, **CHUNKS)
    assert send(function, sent)[::2] == ([200], ["published"])
