"""Outages: a sender that behaves as Pollo's page says, against the compiled function while SNS, the function or the way back
fails, and what of it arrives.

Waits are jumps of the time of day (libfaketime, Debian's package `faketime`), so that days pass in minutes, with the
function's real tolerance and the emulator's real five minutes of deduplication. Pollo's page says neither at which intervals
it tries again nor whether a retry has a timestamp of its own: each of the schedules below is tried, and timestamps both ways.
FUNCTION_BINARY names a function that is built already.
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
from trials.faults import RETRIES, Fault, deliver, function_before_faults

MINUTE, HOUR = 60, 3600

# The waits between the tries.
SCHEDULES = {
    "every minute": [MINUTE] * RETRIES,
    "doubling from one minute": [MINUTE * 2**retry for retry in range(RETRIES)],
    "like Svix": [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, *[10 * HOUR] * 5],
}

# What can be out of order besides SNS.
KILLED_BEFORE, KILLED_AFTER, AWAY, UNHEARD = "killed before", "killed after", "away", "unheard"

# Seconds, for the first try only: no wait is as short.
ONCE = 1


@dataclass(frozen=True)
class Outage:
    name: str
    seconds: float
    what: Fault | str | None
    # A hung call takes the function six seconds, which no jump makes shorter.
    schedules: tuple = tuple(SCHEDULES)


OUTAGES = [
    Outage("none", 0, None),
    Outage("SNS refuses for 2 minutes", 2 * MINUTE, Fault.REFUSED),
    Outage("SNS refuses for 20 minutes", 20 * MINUTE, Fault.REFUSED),
    Outage("SNS refuses for 3 hours", 3 * HOUR, Fault.REFUSED),
    Outage("SNS refuses for ever", math.inf, Fault.REFUSED),
    Outage("SNS hangs for 20 minutes", 20 * MINUTE, Fault.HANGS, ("like Svix",)),
    Outage("SNS's answers are lost for the first try", ONCE, Fault.UNANSWERED),
    Outage("SNS's answers are lost for 20 minutes", 20 * MINUTE, Fault.UNANSWERED),
    Outage("the function is killed before it publishes", ONCE, KILLED_BEFORE),
    Outage("the function is killed after it has published", ONCE, KILLED_AFTER),
    Outage("the function is away for 20 minutes", 20 * MINUTE, AWAY),
    Outage("the first 200 is lost", ONCE, UNHEARD),
    Outage("each 200 is lost for 20 minutes", 20 * MINUTE, UNHEARD),
]

# SNS drops the same outcome on a FIFO topic for this long. It is the default tolerance too.
DEDUPLICATION = DEFAULT_TOLERANCE = 300

# What the sender does with timestamps, and the tolerance of the function. 72 hours are more than any schedule lasts.
SENDERS = [("new", DEFAULT_TOLERANCE), ("kept", DEFAULT_TOLERANCE), ("kept", 72 * HOUR), ("kept", 0)]
NEW, KEPT, *_ = SENDERS
STANDARD, FIFO = TOPICS = ["outcomes", "outcomes.fifo"]

# Seconds in which SQS's clock must agree with ours: less than a jump that matters, more than a busy machine needs.
AGREEMENT = 20


class Clock:
    """A time of day that jumps, for the processes that have its environment."""

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
        # Replaced at once: nobody may read half of it.
        new = self.file.with_suffix(".new")
        new.write_text(f"+{self.offset}\n")
        new.replace(self.file)


@dataclass
class Delivery:
    """What became of a webhook: how often SNS took it, the times at which it arrived, the try that was answered 200, and the
    time of the last try. Times are counted from the first try."""

    taken: int
    arrivals: list
    heard: int | None
    last: float

    def __str__(self):
        if not self.arrivals:
            return "late"
        return f"{len(self.arrivals)}" if self.heard else f"{len(self.arrivals)}, unheard"


class World:
    """A function with a topic, a clock and a sender of its own."""

    def __init__(self, stack, binary, sender, topic):
        self.binary = binary
        self.timestamps, tolerance = sender
        self.clock = Clock(stack.enter_context(tempfile.TemporaryDirectory()))
        clock, settings = self.clock.environment, {"WEBHOOK_TOLERANCE_SECONDS": str(tolerance)}
        parts = function_before_faults(binary, topic, self.policy, self.taken, clock, **settings)
        self.function, self.queue = stack.enter_context(parts)

    def restart(self):
        """A new process, in which nothing is left of the one before."""
        self.kill()
        started = emulators.started([self.binary], self.function.printed, env=self.function.environment)
        self.function.process, self.function.reader = self.processes.enter_context(started)

    def kill(self):
        self.function.process.kill()
        self.function.process.wait()

    def policy(self, _):
        if self.what is KILLED_BEFORE:
            self.kill()
            return Fault.RESET
        return self.what if isinstance(self.what, Fault) else None

    def taken(self, _):
        self.published.append(self.clock.now())
        if self.what is KILLED_AFTER:
            self.kill()

    def deliver(self, outage, schedule):
        """Sends one webhook through the outage, until it is answered 200 or there are no more tries."""
        self.published = []
        first = self.clock.now()
        task = f"task {first}"
        body = json.dumps({"taskId": task, "status": "succeed"}).encode()
        forged = json.dumps({"taskId": f"forged {task}", "status": "succeed"}).encode()

        def call():
            now = self.clock.now()
            self.age = now - first
            self.what = outage.what if self.age < outage.seconds else None
            # Lambda turns the call away, and nothing of it reaches the function.
            if self.what is AWAY:
                return 429
            timestamp = first if self.timestamps == "kept" else now
            status = self.send(Webhook(body, KEY, id=f"msg_{task}", timestamp=str(int(timestamp))))
            if self.send(Webhook(forged, NOBODYS_KEY, timestamp=str(int(now)))) != 401:
                raise Failure("A forged webhook was not answered 401.")
            return None if self.what is UNHEARD else status

        with contextlib.ExitStack() as self.processes:
            self.restart()
            heard = deliver(call, SCHEDULES[schedule], self.clock.jump)
            self.function.check()
        return Delivery(len(self.published), [arrival - first for arrival in self.arrivals(body)], heard, self.age)

    def send(self, webhook):
        """Gives the status of the answer, or None if the function was killed meanwhile, and is back now."""
        try:
            return self.function.send(webhook)[0]
        except Failure:
            if self.what not in [KILLED_BEFORE, KILLED_AFTER]:
                raise
            self.restart()
            return None

    def arrivals(self, body):
        """Takes all messages out. Gives the times at which SQS got them."""
        arrivals, sqs = [], self.queue.sqs
        while received := sqs.receive_message(
            QueueUrl=self.queue.url, MaxNumberOfMessages=10, AttributeNames=["SentTimestamp"]
        ).get("Messages", []):
            for message in received:
                if message["Body"].encode() != body:
                    raise Failure(f"Something else than the webhook has arrived: {message['Body']}")
                arrivals.append(int(message["Attributes"]["SentTimestamp"]) / 1000)
                sqs.delete_message(QueueUrl=self.queue.url, ReceiptHandle=message["ReceiptHandle"])
        for arrival in arrivals:
            nearest = min(self.published, key=lambda published: abs(published - arrival))
            if abs(nearest - arrival) > AGREEMENT:
                raise Failure(
                    f"A message has arrived {nearest - arrival:.0f} seconds before it was published, by SQS's clock."
                )
        return sorted(arrivals)


def broken_rules(case, results):
    """Sentences for what must not be, whatever fails."""
    outage, schedule = case
    for (sender, topic), delivery in results.items():
        where = f"{outage.name}, {schedule}, {sender}, {topic}"
        if delivery.heard and not delivery.arrivals:
            yield f"{where}: answered 200, and nothing has arrived."
        if topic == STANDARD and len(delivery.arrivals) != delivery.taken:
            yield f"{where}: SNS took it {delivery.taken} times, and it arrived {len(delivery.arrivals)} times."
        if topic == FIFO:
            for earlier, later in itertools.pairwise(delivery.arrivals):
                if later - earlier < DEDUPLICATION:
                    yield f"{where}: arrived twice within {later - earlier:.0f} seconds."
        if outage.what is None and delivery.heard != 1:
            yield f"{where}: {delivery}, heard at try {delivery.heard}, though nothing failed."
        new = results[NEW, topic]
        if sender == NEW:
            if not delivery.heard and outage.seconds < sum(SCHEDULES[schedule]):
                yield f"{where}: {delivery} and not heard, though the outage was over at the last try."
        elif sender == KEPT:
            arrived_in_time = bool(new.arrivals) and new.arrivals[0] <= DEFAULT_TOLERANCE
            if bool(delivery.arrivals) != arrived_in_time:
                yield f"{where}: {delivery}, though the first time to arrive was {new.arrivals[:1]}."
            if delivery.heard and delivery.last > DEFAULT_TOLERANCE:
                yield f"{where}: answered 200 with a timestamp of {delivery.last:.0f} seconds ago."
        # How often is another matter: an answer that took more than two seconds on a busy machine was a lost one too.
        elif (bool(delivery.arrivals), delivery.heard) != (bool(new.arrivals), new.heard):
            yield f"{where}: {delivery}, and not {new} as with new timestamps."


def main():
    cases = [(outage, schedule) for outage in OUTAGES for schedule in outage.schedules]
    binary = emulators.binary("--release")
    columns = list(itertools.product(SENDERS, TOPICS))
    with ThreadPoolExecutor(len(columns)) as threads, contextlib.ExitStack() as stack:
        worlds = list(threads.map(lambda column: World(stack, binary, *column), columns))
        deliveries = list(threads.map(lambda world: [world.deliver(*case) for case in cases], worlds))
    results = {case: dict(zip(columns, row, strict=True)) for case, row in zip(cases, zip(*deliveries), strict=True)}
    print("200 at try; standard / FIFO with new timestamps; with the first kept; tolerance of 72 h; tolerance 0")
    print("late: no try has published it; unheard: it has arrived, but the sender has not got a 200\n")
    for outage, schedule in cases:
        cells = results[outage, schedule]
        shown = [" / ".join(str(cells[sender, topic]) for topic in TOPICS) for sender in SENDERS]
        print(f"{outage.name}, {schedule}: {'; '.join([str(cells[NEW, STANDARD].heard or 'never'), *shown])}")
    wrong = [sentence for case in cases for sentence in broken_rules(case, results[case])]
    if wrong:
        raise Failure("\n".join(wrong))


if __name__ == "__main__":
    terminal.run(main)
