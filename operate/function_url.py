"""HTTP: sends a webhook to the URL of a function, and explains the response."""

import http.client
import json
import re
import urllib.request
from dataclasses import dataclass

from operate.terminal import Failure, printable

# The function's own responses are shorter.
MAX_RESPONSE_BYTES = 10_000
MAX_SHOWN_CHARACTERS = 200

# The URL of a service on this machine.
LOCAL = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/|$)")

CAUSES = {
    200: "Nothing was published: this is not the URL of the function.",
    401: "The key is not one of the function's: WEBHOOK_SECRET must be the key of the stack.",
    403: "The URL is not public: one of its two permissions is missing, or a policy forbids such URLs.",
    404: "There is no function at this URL.",
    413: "The message is larger than SNS accepts.",
    422: "The deployed function does not accept it as a task outcome.",
    429: "The concurrency is used up, or ReservedConcurrency is 0.",
    500: "The function did not start, or failed on the request: its log says why.",
    502: "The function did not start, or failed on the request: its log says why.",
    503: "The function was not available: its concurrency is used up, or it timed out.",
}


class Unreachable(Failure):
    """There is no response."""


@dataclass(frozen=True)
class Response:
    status: int
    text: str

    def field(self, name):
        """A text field of the function's JSON response, or None."""
        try:
            value = json.loads(self.text).get(name)
        except (ValueError, AttributeError):
            return None
        return value if isinstance(value, str) else None

    @property
    def message_id(self):
        """SNS's id of the message, or None if nothing was published."""
        return self.field("messageId") if self.status == 200 else None

    def __str__(self):
        return f"{self.status} {printable(self.text[:MAX_SHOWN_CHARACTERS])}".rstrip()

    def cause(self):
        """The likely cause of a response other than 200 to a signed webhook."""
        if self.status == 401 and "timestamp" in (self.field("error") or ""):
            return "The clock of this machine differs from the function's by more than ToleranceSeconds."
        if self.status == 503 and self.field("error"):
            return "SNS did not accept the message: `code` in the function's log says why."
        return CAUSES.get(
            self.status, "The function never responds with this status: the URL belongs to something else."
        )


class EveryStatus(urllib.request.HTTPErrorProcessor):
    """Returns each response unchanged: follows no redirect, and raises no exception for a status."""

    def http_response(self, request, response):
        return response

    https_response = http_response


def exchange(url, body, headers, timeout, limit):
    """Sends a request: POST with a body, GET without one. Returns status, headers and up to `limit` bytes of the body.

    Raises Unreachable if there is no response, or none within `timeout` seconds.
    """
    try:
        request = urllib.request.Request(url, body, headers)
        with urllib.request.build_opener(EveryStatus).open(request, timeout=timeout) as response:
            return response.status, response.headers, response.read(limit)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise Unreachable(f"No response from {url} within {timeout} seconds.") from None
        raise Unreachable(f"{url} cannot be reached: {printable(f'{reason}') or type(error).__name__}") from None


def post(url, body, headers, timeout):
    """Sends `body` to `url`."""
    status, _, text = exchange(url, body, headers, timeout, MAX_RESPONSE_BYTES)
    return Response(status, text.decode(errors="replace"))
