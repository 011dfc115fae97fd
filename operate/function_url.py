"""HTTP: sends a request, such as a webhook to the URL of a function, and explains the response."""

import http.client
import json
import re
import urllib.request
from dataclasses import dataclass

from operate.terminal import Failure, printable

# The function responds within 8 seconds of its start.
TIMEOUT_SECONDS = 20

# The function's responses and those of Pollo's API are shorter.
MAX_RESPONSE_BYTES = 5_000_000
MAX_SHOWN_BYTES = 200

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
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def fields(self):
        """The JSON object in the body. Empty for anything else, such as HTML."""
        try:
            fields = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return fields if isinstance(fields, dict) else {}

    @property
    def message_id(self):
        """SNS's id of the message, or None if nothing was published."""
        id = self.fields.get("messageId")
        return id if self.status == 200 and isinstance(id, str) else None

    def __str__(self):
        return f"{self.status} {printable(self.body[:MAX_SHOWN_BYTES].decode(errors='replace'))}".rstrip()

    def cause(self):
        """The likely cause of a response other than 200 to a signed webhook."""
        if self.status == 401 and "timestamp" in f"{self.fields.get('error')}":
            return "The clock of this machine differs from the function's by more than ToleranceSeconds."
        if self.status == 503 and "error" in self.fields:
            return "SNS did not accept the message: `code` in the function's log says why."
        return CAUSES.get(self.status, "The function never responds with this status: this is not its URL.")


class EveryStatus(urllib.request.HTTPErrorProcessor):
    """Returns each response unchanged: follows no redirect, and raises no exception for a status."""

    def http_response(self, request, response):
        return response

    https_response = http_response


def exchange(url, headers, body=None, timeout=TIMEOUT_SECONDS):
    """Sends a request: POST with a body, GET without one. Raises Unreachable if no response comes within `timeout`."""
    try:
        request = urllib.request.Request(url, body, headers)
        with urllib.request.build_opener(EveryStatus).open(request, timeout=timeout) as response:
            return Response(response.status, response.headers, response.read(MAX_RESPONSE_BYTES))
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise Unreachable(f"No response from {url} within {timeout} seconds.") from None
        raise Unreachable(f"{url} cannot be reached: {printable(f'{reason}')}") from None
