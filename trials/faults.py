"""What both trials have: a function with an SNS that is slow and fails, and a sender that retries as Pollo's page says."""

import contextlib
import enum
import http.client
import time
from urllib.parse import parse_qs, urlsplit

from local import emulators
from local.emulators import ADDRESS, PATIENCE
from tests.http_server import reset_when_closed, serving

# Seconds that each call takes longer than the emulator needs.
LATENCY = 0.01

RETRIES = 10


class Fault(enum.Enum):
    REFUSED = "answered 503, and not taken"
    RESET = "the connection is reset, and it is not taken"
    HANGS = "never answered, and not taken"
    ANSWERED_500 = "taken, and answered 500"
    UNANSWERED = "taken, and the connection is closed without an answer"


# The faults in which SNS has the message, and the function does not know.
TAKEN = [Fault.ANSWERED_500, Fault.UNANSWERED]


@contextlib.contextmanager
def function_before_faults(binary, name, policy, taken, clock=None, **settings):
    """A function with a topic of this name, and the topic's queue. `clock` is the environment of a clock for both.

    `policy` gives the fault of a call to SNS, or None, by the bytes of its message, before anything is forwarded. `taken` is
    told them once SNS has the message, before the function hears of it."""

    def respond(request):
        message = parse_qs(request.body.decode())["Message"][0].encode()
        time.sleep(LATENCY)
        match fault := policy(message):
            case Fault.REFUSED:
                return 503, b""
            case Fault.RESET:
                reset_when_closed(request.connection)
                return None
            case Fault.HANGS:
                # Until the function hangs up.
                request.connection.recv(1)
                return None
        answer = forward(request)
        taken(message)
        return {Fault.ANSWERED_500: (500, b""), Fault.UNANSWERED: None}.get(fault, answer)

    def forward(request):
        connection = http.client.HTTPConnection(ADDRESS, urlsplit(sns.url).port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("POST", request.path, request.body, request.headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    clock = clock or {}
    with emulators.sns(**clock) as sns, serving(respond) as proxy:
        topic = sns.topic(name)
        queue = sns.subscribed_queue(topic, name)
        with emulators.function(binary, proxy, SNS_TOPIC_ARN=topic, **settings, **clock) as function:
            yield function, queue


def deliver(call, waits, wait):
    """Makes the `call`, and again after each of the `waits`, until it is answered 200. Gives the number of that try."""
    for number, seconds in enumerate([0, *waits], 1):
        if number > 1:
            wait(seconds)
        if call() == 200:
            return number
    return None
