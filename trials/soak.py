"""Load and soak: sends many valid, forged and malformed webhooks to several processes of the compiled function.

One call of SNS in ten fails. In the end, exactly the valid webhooks must be on the queues, and memory must not grow.

    python -m trials.soak [WEBHOOKS]

Sends 100000 webhooks by default, half to a standard topic and half to a FIFO topic. FUNCTION_BINARY names a compiled
function to use. 2000 webhooks take half a minute, but are too few to check memory. 100000 show a leak of 400 bytes per
webhook. Memory that the runtime is known to keep is subtracted.

Unlike SQS, the emulated FIFO queue stops deduplicating a message when it is deleted. So a message is deleted only after
its sender has got 200, when no further try can follow.
"""

import collections
import contextlib
import itertools
import json
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from local import emulators
from local.emulators import KEY
from operate import terminal
from operate.pollo import NOBODYS_KEY, Webhook
from operate.terminal import Failure
from tests.leaks import leaks
from trials.faults import PUBLISHED, RETRIES, Fault, deliver, function_with_faults

# Processes of the function, of which Lambda runs several too, and twice as many senders, so that no process is idle.
PROCESSES = 6
SENDERS = 2 * PROCESSES

# The faults of one call in ten. A hang takes two seconds, so it is less frequent.
FAULTS = [*[Fault.REJECTED, Fault.RESET, Fault.PUBLISHED_500, Fault.PUBLISHED_CLOSED] * 6, Fault.HANGS]

# The emulator gets slow with long queues. Senders wait while more messages than this have not been received.
BACKLOG = 50

# Seconds until a webhook is sent again.
WAIT = 0.1

# How much a process may grow after the first quarter of a run, and from how many webhooks per topic this is checked. In
# a shorter run, the first bodies of 1 MiB can come late, and then grow a process by some 3 MiB.
GROWTH_BYTES, CHECKED_FROM = 2 << 20, 25_000

# Growth per call that is expected: lambda_runtime puts the trace id into the environment, and glibc's setenv never
# frees a value.
TRACE_ID_BYTES = 144


def webhook(number):
    """The webhook of this number, signed now, and the status that rejects it, or None if it is valid."""
    outcome = {
        "taskId": f"task {number}",
        "status": random.choice(["succeed", "failed"]),
        "credit": random.randrange(100),
        "failMsg": random.choice(["", "é 😀", 'a "quoted"\r\n\tline', "x" * random.randrange(2000)]),
    }
    body = json.dumps(outcome, ensure_ascii=random.choice([True, False]), indent=random.choice([None, 2])).encode()
    content_type = random.choice(["application/json", "text/plain", "application/octet-stream"])
    valid = Webhook(body, KEY, id=f"msg_{number}", content_type=content_type)
    forged = replace(valid, key=NOBODYS_KEY), 401
    malformed = [
        (replace(valid, id=""), 400),
        (replace(valid, timestamp="soon"), 400),
        (replace(valid, body=body[:-1]), 422),
        (replace(valid, body=body.replace(b'"status": "', b'"status": "un')), 422),
        (replace(valid, body=body + b" " * 1_048_576), 413),
    ]
    return {0: forged, 1: forged, 2: random.choice(malformed)}.get(number % 20, (valid, None))


def resident_bytes(process):
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Topic:
    """A topic with its queue, with its own emulators and processes of the function."""

    def __init__(self, stack, binary, name):
        self.name = name
        self.responses, self.tries, self.valid = [], [], set()
        # What SNS has published, and how often SNS's response for a message was lost.
        self.published, self.lost = set(), collections.Counter()
        # What has arrived, which bodies are not sent again, and whether all have been sent.
        self.arrived, self.settled, self.over = collections.Counter(), set(), threading.Event()
        self.running = stack.enter_context(contextlib.ExitStack())
        first = function_with_faults(binary, name, self.policy, self.published.add, WEBHOOK_TOLERANCE_SECONDS="300")
        self.function, self.queue = self.running.enter_context(first)
        self.processes = [self.function.process]
        for _ in range(PROCESSES - 1):
            more = emulators.started([binary], self.function.printed, env=self.function.environment)
            self.processes.append(self.running.enter_context(more)[0])

    def policy(self, message):
        fault = random.choice(FAULTS) if random.random() < 0.1 else None
        if fault in PUBLISHED:
            self.lost[message] += 1
        return fault

    def send(self, number):
        sent, rejection = webhook(number)

        def call():
            status, _, _ = self.function.send(sent)
            self.responses.append((sent.id or None, rejection, status))
            return status

        while len(self.published) - len(self.arrived) > BACKLOG:
            time.sleep(0.05)
        if rejection:
            call()
            return
        self.valid.add(sent.body)
        self.tries.append(deliver(call, [WAIT] * RETRIES, time.sleep))
        self.settled.add(sent.body)

    def drain(self):
        """Receives messages until the end, and deletes those that are not sent again."""
        held = {}
        while True:
            over = self.over.is_set()
            received = self.queue.sqs.receive_message(
                QueueUrl=self.queue.url, MaxNumberOfMessages=10, VisibilityTimeout=43_200
            ).get("Messages", [])
            for message in received:
                body = message["Body"].encode()
                self.arrived[body] += 1
                held[message["ReceiptHandle"]] = body
            done = [handle for handle, body in held.items() if over or body in self.settled][:10]
            if done:
                entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(done)]
                self.queue.sqs.delete_message_batch(QueueUrl=self.queue.url, Entries=entries)
                for handle in done:
                    del held[handle]
            elif over and not received:
                return
            if len(received) < 10 and not over:
                # One call for ten messages costs the emulator less than ten calls for one.
                time.sleep(0.1)


def soak(topic, webhooks):
    """Sends as many `webhooks` to the topic's function. Returns a sentence for each wrong result."""
    memory = []
    start = time.monotonic()
    with ThreadPoolExecutor(SENDERS + 1) as threads:
        draining = threads.submit(topic.drain)
        try:
            # Memory is measured after the first quarter, when each process is warm.
            for part in [range(webhooks // 4), range(webhooks // 4, webhooks)]:
                list(threads.map(topic.send, part))
                memory.append((len(topic.responses), [resident_bytes(process) for process in topic.processes]))
        finally:
            topic.over.set()
    draining.result()
    seconds = time.monotonic() - start
    ended = [process.pid for process in topic.processes if process.poll() is not None]
    # After the function has ended, all of its lines have been read.
    topic.running.close()

    arrived = topic.arrived
    wrong = [f"Process {pid} of the function has ended." for pid in ended]
    if None in topic.tries:
        wrong.append(f"{topic.tries.count(None)} valid webhooks never got 200.")
    wrong += wrong_responses(topic.responses)
    wrong += wrong_messages(arrived, topic.valid, topic.lost, fifo=topic.name.endswith(".fifo"))
    wrong += wrong_lines(topic.function.log_lines(), topic.responses)
    written = {leak for text in topic.function.written for leak in leaks(text, topic.function.environment)}
    if written:
        wrong.append(f"{len(written)} keys or signatures are in the log or in responses.")
    (warm_calls, warm), (calls, end) = memory
    growth = max(last - first for first, last in zip(warm, end, strict=True))
    trace_ids = (calls - warm_calls) * TRACE_ID_BYTES // len(topic.processes)
    grown = f"a process has grown by {growth} bytes, of which {trace_ids} are trace ids"
    if webhooks >= CHECKED_FROM and growth > trace_ids + GROWTH_BYTES:
        wrong.append(f"{grown}.")
    duplicates = arrived.total() - len(arrived)
    print(f"{topic.name}: {len(arrived)} of {webhooks} arrived in {seconds:.0f} s, {duplicates} duplicates; {grown}")
    return [f"{topic.name}: {sentence}" for sentence in wrong]


def wrong_responses(responses):
    wrong = collections.Counter(
        (rejection or "200 or 503", status)
        for _, rejection, status in responses
        if status not in ([rejection] if rejection else [200, 503])
    )
    return [f"{count} requests got {status}; expected {right}." for (right, status), count in wrong.items()]


def wrong_messages(arrived, valid, lost, fifo):
    """A message may arrive more than once only on a standard topic, if a response of SNS was lost."""
    for text, wrong in [
        ("valid webhooks are not on the queue", valid - set(arrived)),
        ("messages on the queue are not valid webhooks", set(arrived) - valid),
        ("messages arrived too often", [body for body in arrived if arrived[body] > 1 + (0 if fifo else lost[body])]),
    ]:
        if wrong:
            yield f"{len(wrong)} {text}, such as {min(wrong)[:80]}."


def wrong_lines(lines, responses):
    """Each call must have one line in the log, with the id that was sent and the status of the response."""
    objects = [json.loads(line) for line in lines]
    logged = collections.Counter((line.get("webhookId"), line.get("httpStatus")) for line in objects)
    responded = collections.Counter((webhook_id, status) for webhook_id, _, status in responses)
    for text, wrong in [
        ("calls have no line in the log", responded - logged),
        ("lines in the log belong to no call", logged - responded),
    ]:
        if wrong:
            yield f"{wrong.total()} {text}, such as {next(iter(wrong))}."
    requests = {line.get("requestId") for line in objects}
    if len(requests) != len(lines):
        yield f"{len(lines)} lines name {len(requests)} requests."


def main():
    webhooks = int(sys.argv[1]) if sys.argv[1:] else 100_000
    binary = emulators.binary("--release")
    print(f"{webhooks} webhooks, {PROCESSES} processes of the function on each topic")
    names = ["standard", "outcomes.fifo"]
    with ThreadPoolExecutor(len(names)) as threads, contextlib.ExitStack() as stack:
        topics = list(threads.map(lambda name: Topic(stack, binary, name), names))
        wrong = list(itertools.chain(*threads.map(lambda topic: soak(topic, webhooks // 2), topics)))
    if wrong:
        raise Failure("\n".join(wrong))
    print("Exactly the valid webhooks arrived, each call has one line in the log, and memory grew only by trace ids.")


if __name__ == "__main__":
    terminal.run(main)
