"""Checks which webhooks arrive during outages of SNS, of the function and of the connection to the sender.

The sender retries as Pollo's page describes. Waits are jumps of the clock (libfaketime, Debian's package `faketime`),
so days pass in minutes. The function's tolerance and the emulator's five minutes of deduplication are the real ones.
Pollo's page says neither when it retries nor whether a retry has a new timestamp. So this tries several schedules, and
both kinds of timestamps. FUNCTION_BINARY names a compiled function to use.
"""

import contextlib
import itertools
import json
import math
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from local import emulators
from local.emulators import KEY
from operate import terminal
from operate.pollo import NOBODYS_KEY, Webhook
from operate.terminal import Failure
from trials.faults import RETRIES, Fault, deliver, function_with_faults

MINUTE, HOUR = 60, 3600

# The waits between the tries.
SCHEDULES = {
    "every minute": [MINUTE] * RETRIES,
    "doubling from one minute": [MINUTE * 2**retry for retry in range(RETRIES)],
    "like Svix": [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, *[10 * HOUR] * 5],
}

# Faults outside SNS.
KILLED_BEFORE, KILLED_AFTER, THROTTLED, RESPONSE_LOST = "killed before", "killed after", "throttled", "response lost"

# Seconds of an outage of the first try only: every wait is longer.
ONCE = 1


@dataclass(frozen=True)
class Outage:
    name: str
    seconds: float
    fault: Fault | str | None
    # A hung call takes six seconds of real time, so it is tried with one schedule.
    schedules: tuple = tuple(SCHEDULES)


OUTAGES = [
    Outage("none", 0, None),
    Outage("SNS rejects messages for 2 minutes", 2 * MINUTE, Fault.REJECTED),
    Outage("SNS rejects messages for 20 minutes", 20 * MINUTE, Fault.REJECTED),
    Outage("SNS rejects messages for 3 hours", 3 * HOUR, Fault.REJECTED),
    Outage("SNS rejects all messages", math.inf, Fault.REJECTED),
    Outage("SNS hangs for 20 minutes", 20 * MINUTE, Fault.HANGS, ("like Svix",)),
    Outage("SNS's responses to the first try are lost", ONCE, Fault.PUBLISHED_CLOSED),
    Outage("SNS's responses are lost for 20 minutes", 20 * MINUTE, Fault.PUBLISHED_CLOSED),
    Outage("the function is killed before it publishes", ONCE, KILLED_BEFORE),
    Outage("the function is killed after it has published", ONCE, KILLED_AFTER),
    Outage("the function is throttled for 20 minutes", 20 * MINUTE, THROTTLED),
    Outage("the first 200 is lost", ONCE, RESPONSE_LOST),
    Outage("each 200 is lost for 20 minutes", 20 * MINUTE, RESPONSE_LOST),
]

# Seconds for which SNS drops the same outcome on a FIFO topic, and the default tolerance.
DEDUPLICATION = DEFAULT_TOLERANCE = 300

# Whether a retry has a new timestamp, and the tolerance of the function. 72 hours are longer than every schedule.
SENDERS = [("new", DEFAULT_TOLERANCE), ("kept", DEFAULT_TOLERANCE), ("kept", 72 * HOUR), ("kept", 0)]
NEW, KEPT, *_ = SENDERS
STANDARD, FIFO = TOPICS = ["outcomes", "outcomes.fifo"]

# Seconds by which SQS's clock may differ from ours: less than a jump that matters, more than a busy machine needs.
AGREEMENT = 20


class Clock:
    """A clock that can jump, for the processes that have its environment."""

    def __init__(self, folder):
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            raise Failure("libfaketime is missing: apt-get install faketime")
        self.file = Path(folder) / "offset"
        self.environment = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.offset = 0
        self.jump(0)

    def now(self):
        return time.time() + self.offset

    def jump(self, seconds):
        self.offset += seconds
        # Replaced atomically, so that no process reads a part of it.
        new = self.file.with_suffix(".new")
        new.write_text(f"+{self.offset}\n")
        new.replace(self.file)


@dataclass
class Delivery:
    """The result of one webhook: how often SNS published it, when it arrived, which try got 200, and when the last try
    was. Times are seconds since the first try."""

    published: int
    arrivals: list
    succeeded: int | None
    last: float

    def __str__(self):
        if not self.arrivals:
            return "not published"
        return f"{len(self.arrivals)}" if self.succeeded else f"{len(self.arrivals)}, no 200"


class Trial:
    """A function with its own topic, clock and sender."""

    def __init__(self, stack, binary, sender, topic):
        self.binary = binary
        self.timestamps, tolerance = sender
        self.clock = Clock(stack.enter_context(tempfile.TemporaryDirectory()))
        clock, settings = self.clock.environment, {"WEBHOOK_TOLERANCE_SECONDS": str(tolerance)}
        started = function_with_faults(binary, topic, self.policy, self.after_publishing, clock, **settings)
        self.function, self.queue = stack.enter_context(started)

    def restart(self):
        """Replaces the process of the function."""
        self.kill()
        started = emulators.started([self.binary], self.function.printed, env=self.function.environment)
        self.function.process, self.function.reader = self.processes.enter_context(started)

    def kill(self):
        self.function.process.kill()
        self.function.process.wait()

    def policy(self, _):
        if self.fault is KILLED_BEFORE:
            self.kill()
            return Fault.RESET
        return self.fault if isinstance(self.fault, Fault) else None

    def after_publishing(self, _):
        self.published.append(self.clock.now())
        if self.fault is KILLED_AFTER:
            self.kill()

    def deliver(self, outage, schedule):
        """Sends one webhook during the outage, until it gets 200 or there are no more tries."""
        self.published = []
        first = self.clock.now()
        task = f"task {first}"
        body = json.dumps({"taskId": task, "status": "succeed"}).encode()
        forged = json.dumps({"taskId": f"forged {task}", "status": "succeed"}).encode()

        def call():
            now = self.clock.now()
            self.age = now - first
            self.fault = outage.fault if self.age < outage.seconds else None
            # Lambda rejects the call before it reaches the function.
            if self.fault is THROTTLED:
                return 429
            timestamp = first if self.timestamps == "kept" else now
            status = self.send(Webhook(body, KEY, id=f"msg_{task}", timestamp=str(int(timestamp))))
            if self.send(Webhook(forged, NOBODYS_KEY, timestamp=str(int(now)))) != 401:
                raise Failure("A forged webhook did not get 401.")
            return None if self.fault is RESPONSE_LOST else status

        with contextlib.ExitStack() as self.processes:
            self.restart()
            succeeded = deliver(call, SCHEDULES[schedule], self.clock.jump)
            self.function.check()
        return Delivery(len(self.published), [arrival - first for arrival in self.arrivals(body)], succeeded, self.age)

    def send(self, webhook):
        """Returns the status of the response, or None if the function was killed. Then restarts it."""
        try:
            return self.function.send(webhook)[0]
        except Failure:
            if self.fault not in [KILLED_BEFORE, KILLED_AFTER]:
                raise
            self.restart()
            return None

    def arrivals(self, body):
        """Receives and deletes all messages. Returns the times at which SQS got them."""
        arrivals, sqs = [], self.queue.sqs
        while received := sqs.receive_message(
            QueueUrl=self.queue.url, MaxNumberOfMessages=10, AttributeNames=["SentTimestamp"]
        ).get("Messages", []):
            for message in received:
                if message["Body"].encode() != body:
                    raise Failure(f"A message is not the webhook's body: {message['Body']}")
                arrivals.append(int(message["Attributes"]["SentTimestamp"]) / 1000)
                sqs.delete_message(QueueUrl=self.queue.url, ReceiptHandle=message["ReceiptHandle"])
        for arrival in arrivals:
            nearest = min(self.published, key=lambda published: abs(published - arrival))
            if abs(nearest - arrival) > AGREEMENT:
                raise Failure(f"SQS's clock differs by {nearest - arrival:.0f} seconds from the time of publishing.")
        return sorted(arrivals)


def broken_rules(case, results):
    """Yields a sentence for each rule that the results break."""
    outage, schedule = case
    for (sender, topic), delivery in results.items():
        where = f"{outage.name}, {schedule}, {sender}, {topic}"
        if delivery.succeeded and not delivery.arrivals:
            yield f"{where}: got 200, but did not arrive."
        if topic == STANDARD and len(delivery.arrivals) != delivery.published:
            yield f"{where}: published {delivery.published} times, but arrived {len(delivery.arrivals)} times."
        if topic == FIFO:
            for earlier, later in itertools.pairwise(delivery.arrivals):
                if later - earlier < DEDUPLICATION:
                    yield f"{where}: arrived twice within {later - earlier:.0f} seconds."
        if outage.fault is None and delivery.succeeded != 1:
            yield f"{where}: {delivery}, with 200 at try {delivery.succeeded}, although nothing failed."
        new = results[NEW, topic]
        if sender == NEW:
            if not delivery.succeeded and outage.seconds < sum(SCHEDULES[schedule]):
                yield f"{where}: {delivery}, but no try got 200, although the outage was over at the last try."
        elif sender == KEPT:
            arrived_in_time = bool(new.arrivals) and new.arrivals[0] <= DEFAULT_TOLERANCE
            if bool(delivery.arrivals) != arrived_in_time:
                yield f"{where}: {delivery}, but with new timestamps the first arrival was at {new.arrivals[:1]}."
            if delivery.succeeded and delivery.last > DEFAULT_TOLERANCE:
                yield f"{where}: got 200 with a timestamp of {delivery.last:.0f} seconds ago."
        # The number of arrivals can differ: on a busy machine, a response after two seconds is a lost one too.
        elif (bool(delivery.arrivals), delivery.succeeded) != (bool(new.arrivals), new.succeeded):
            yield f"{where}: {delivery}, but {new} with new timestamps."


def main():
    cases = [(outage, schedule) for outage in OUTAGES for schedule in outage.schedules]
    binary = emulators.binary("--release")
    columns = list(itertools.product(SENDERS, TOPICS))
    with ThreadPoolExecutor(len(columns)) as threads, contextlib.ExitStack() as stack:
        trials = list(threads.map(lambda column: Trial(stack, binary, *column), columns))
        deliveries = list(threads.map(lambda trial: [trial.deliver(*case) for case in cases], trials))
    results = {case: dict(zip(columns, row, strict=True)) for case, row in zip(cases, zip(*deliveries), strict=True)}
    print("The try that got 200; how often the webhook arrived on a standard / FIFO topic with new timestamps;")
    print("with the first timestamp kept; with a tolerance of 72 h; with tolerance 0. (no 200: no try got 200)\n")
    for outage, schedule in cases:
        cells = results[outage, schedule]
        shown = [" / ".join(str(cells[sender, topic]) for topic in TOPICS) for sender in SENDERS]
        print(f"{outage.name}, {schedule}: {'; '.join([str(cells[NEW, STANDARD].succeeded or 'never'), *shown])}")
    wrong = [sentence for case in cases for sentence in broken_rules(case, results[case])]
    if wrong:
        raise Failure("\n".join(wrong))


if __name__ == "__main__":
    terminal.run(main)
