"""Both trials use this: a function with a slow and failing SNS, and a sender that retries as Pollo's page describes."""

import contextlib
import enum
import http.client
import time
from urllib.parse import parse_qs, urlsplit

from local import emulators
from local.emulators import ADDRESS, PATIENCE
from tests.http_server import reset_when_closed, serving

# Seconds that are added to each call of SNS.
LATENCY = 0.01

RETRIES = 10


class Fault(enum.Enum):
    REJECTED = "responds 503 and does not publish"
    RESET = "resets the connection and does not publish"
    HANGS = "never responds and does not publish"
    PUBLISHED_500 = "publishes and responds 500"
    PUBLISHED_CLOSED = "publishes and closes the connection without a response"


# With these faults, SNS publishes the message and the function does not know it.
PUBLISHED = [Fault.PUBLISHED_500, Fault.PUBLISHED_CLOSED]


@contextlib.contextmanager
def function_with_faults(binary, name, policy, published, clock=None, **settings):
    """A function with a topic of this name, and the topic's queue. `clock` is the environment of a clock for both.

    `policy` receives the bytes of each message before SNS does, and returns the fault or None. `published` receives the
    bytes after SNS has published the message and before the function gets a response."""

    def respond(request):
        message = parse_qs(request.body.decode())["Message"][0].encode()
        time.sleep(LATENCY)
        match fault := policy(message):
            case Fault.REJECTED:
                return 503, b""
            case Fault.RESET:
                reset_when_closed(request.connection)
                return None
            case Fault.HANGS:
                # Waits until the function closes the connection.
                request.connection.recv(1)
                return None
        response = forward(request)
        published(message)
        return {Fault.PUBLISHED_500: (500, b""), Fault.PUBLISHED_CLOSED: None}.get(fault, response)

    def forward(request):
        connection = http.client.HTTPConnection(ADDRESS, urlsplit(sns.url).port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("POST", request.path, request.body, request.headers)
            response = connection.getresponse()
            return response.status, response.read()

    clock = clock or {}
    with emulators.sns(**clock) as sns, serving(respond) as proxy:
        topic = sns.topic(name)
        queue = sns.subscribed_queue(topic, name)
        with emulators.function(binary, proxy, SNS_TOPIC_ARN=topic, **settings, **clock) as function:
            yield function, queue


def deliver(call, waits, wait):
    """Repeats `call` after each of the `waits` until it returns 200. Returns the number of that try, or None."""
    for number, seconds in enumerate([0, *waits], 1):
        if number > 1:
            wait(seconds)
        if call() == 200:
            return number
    return None
