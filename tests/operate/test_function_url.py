"""Requests to a URL that does not respond as the function does."""

import socket
import threading

import pytest

from operate.function_url import Response, Unreachable, post
from tests.http_server import serving

BODY, HEADERS = b"{}", {"Content-Type": "application/json"}


def test_a_url_that_does_not_respond_times_out():
    finished = threading.Event()

    def hang(_):
        finished.wait(60)
        return 200, b""

    with serving(hang) as double:
        with pytest.raises(Unreachable) as raised:
            post(double.url, BODY, HEADERS, 0.2)
        finished.set()
    assert str(raised.value) == f"No response from {double.url} within 0.2 seconds."


def test_a_redirect_is_not_followed():
    with serving(lambda _: (200, b"{}")) as target:

        def redirect(_):
            return 307, b""

        with serving(redirect) as double:
            assert post(double.url, BODY, HEADERS, 10).status == 307
        assert target.requests == []


@pytest.mark.parametrize("response", [b"", b"garbage\r\n\r\n"])
def test_a_response_that_is_not_http_is_reported(response):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def respond():
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(response)

        threading.Thread(target=respond, daemon=True).start()
        with pytest.raises(Unreachable, match="cannot be reached: ."):
            post(f"http://127.0.0.1:{server.getsockname()[1]}/", BODY, HEADERS, 10)


@pytest.mark.parametrize("text", ["", "{", "[]", '"messageId"', "{}", '{"messageId":1}', '{"error":"no"}'])
def test_only_a_200_with_a_message_id_has_a_message_id(text):
    assert Response(200, text).message_id is None
    assert Response(202, '{"messageId":"1"}').message_id is None


def test_a_response_is_shown_truncated_without_control_characters():
    with serving(lambda _: (502, b"\x1b[31m\xff" + b"x" * 20_000)) as double:
        shown = str(post(double.url, BODY, HEADERS, 10))
    assert shown.startswith("502 '\\x1b[31m\\ufffdxxx")
    assert len(shown) < 300


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        (Response(200, "<html>"), "Nothing was published: this is not the URL of the function."),
        (Response(302, ""), "the URL belongs to something else"),
        (Response(401, '{"error":"signature does not match"}'), "The key is not one of the function's"),
        (Response(401, '{"error":"timestamp is outside the tolerance"}'), "The clock of this machine"),
        (Response(403, '{"Message":"Forbidden"}'), "The URL is not public: one of its two permissions is missing"),
        (Response(404, ""), "There is no function at this URL."),
        (Response(413, '{"error":"too large"}'), "The message is larger than SNS accepts."),
        (Response(422, '{"error":"not a task outcome"}'), "The deployed function does not accept it"),
        (Response(429, ""), "The concurrency is used up, or ReservedConcurrency is 0."),
        (Response(500, "Internal Server Error"), "The function did not start, or failed on the request"),
        (Response(502, "Internal Server Error"), "The function did not start, or failed on the request"),
        (Response(503, '{"error":"the outcome could not be published"}'), "SNS did not accept the message"),
        (Response(503, '{"message":"Service Unavailable"}'), "The function was not available"),
    ],
)
def test_the_cause_of_an_unexpected_response_is_explained(response, cause):
    assert cause in response.cause()
