"""Load and soak: many webhooks, valid, forged and malformed, through several processes of the compiled function to an
SNS that fails one time in ten, and at the end exactly the valid ones on the queues, with the memory as it was.

    python -m trials.soak [WEBHOOKS]

WEBHOOKS, 100000 by default, go half to a standard topic and half to a FIFO topic. FUNCTION_BINARY names a function that is
built already. 2000 webhooks take half a minute, but are too few to judge memory; 100000 show a leak of 400 bytes a webhook.
What the runtime is known to keep is subtracted.

The emulator of FIFO queues forgets a message with its deletion, which SQS does not. So a message is deleted there once its
sender has heard 200, after which no try can follow.
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
from trials.faults import RETRIES, TAKEN, Fault, deliver, function_before_faults

# Processes of the function, as Lambda runs several, and twice as many senders, so that none is idle.
PROCESSES = 6
SENDERS = 2 * PROCESSES

# One call in ten fails. A hang takes two seconds, which is why there are fewer of these.
FAULTS = [*[Fault.REFUSED, Fault.RESET, Fault.ANSWERED_500, Fault.UNANSWERED] * 6, Fault.HANGS]

# The emulator's pace goes by the length of its queues: no more is sent while so many messages have not been taken out.
BACKLOG = 50

# Seconds until a webhook is sent again.
WAIT = 0.1

# How much a process may grow after the first quarter of the run, and from how many webhooks to a topic on that is judged. In
# a shorter run, a process may receive its first bodies of 1 MiB late, and keeps some 3 MiB of room for them.
GROWTH_BYTES, JUDGED = 2 << 20, 25_000

# What each call leaves behind all the same: lambda_runtime puts its trace id into the environment, and glibc's setenv keeps
# each value that it was ever given.
TRACE_ID_BYTES = 144


def webhook(number):
    """The webhook of this number, signed now, and the status that it must get, or None if it is valid: SNS may make it wait."""
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
    """A topic with its queue, behind processes of the function, and in front of emulators of its own."""

    def __init__(self, stack, binary, name):
        self.name = name
        self.answers, self.tries, self.valid = [], [], set()
        # What SNS has, whoever knows of it, and how often its answer for a message got lost.
        self.taken, self.lost = set(), collections.Counter()
        # What has arrived, which bodies are sent no more, and whether these are all.
        self.arrived, self.settled, self.over = collections.Counter(), set(), threading.Event()
        self.parts = stack.enter_context(contextlib.ExitStack())
        parts = function_before_faults(binary, name, self.policy, self.taken.add, WEBHOOK_TOLERANCE_SECONDS="300")
        self.function, self.queue = self.parts.enter_context(parts)
        self.processes = [self.function.process]
        for _ in range(PROCESSES - 1):
            more = emulators.started([binary], self.function.printed, env=self.function.environment)
            self.processes.append(self.parts.enter_context(more)[0])

    def policy(self, message):
        fault = random.choice(FAULTS) if random.random() < 0.1 else None
        if fault in TAKEN:
            self.lost[message] += 1
        return fault

    def send(self, number):
        sent, refusal = webhook(number)

        def call():
            status, _, _ = self.function.send(sent)
            self.answers.append((sent.id or None, refusal, status))
            return status

        while len(self.taken) - len(self.arrived) > BACKLOG:
            time.sleep(0.05)
        if refusal:
            call()
            return
        self.valid.add(sent.body)
        self.tries.append(deliver(call, [WAIT] * RETRIES, time.sleep))
        self.settled.add(sent.body)

    def drain(self):
        """Takes out what arrives, all the while."""
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
                # One call for ten messages costs the emulator less than ten calls.
                time.sleep(0.1)


def soak(topic, webhooks):
    """Sends `webhooks` to the topic's function. Gives a sentence for whatever is wrong."""
    memory = []
    start = time.monotonic()
    with ThreadPoolExecutor(SENDERS + 1) as threads:
        draining = threads.submit(topic.drain)
        try:
            # Memory is compared from the first quarter on, once each process has become warm.
            for part in [range(webhooks // 4), range(webhooks // 4, webhooks)]:
                list(threads.map(topic.send, part))
                memory.append((len(topic.answers), [resident_bytes(process) for process in topic.processes]))
        finally:
            topic.over.set()
    draining.result()
    seconds = time.monotonic() - start
    ended = [process.pid for process in topic.processes if process.poll() is not None]
    # Once the function has ended, all of its lines are here.
    topic.parts.close()

    arrived = topic.arrived
    wrong = [f"Process {pid} of the function has ended." for pid in ended]
    if None in topic.tries:
        wrong.append(f"{topic.tries.count(None)} valid webhooks were never answered 200.")
    wrong += wrong_answers(topic.answers)
    wrong += wrong_messages(arrived, topic.valid, topic.lost, fifo=topic.name.endswith(".fifo"))
    wrong += wrong_lines(topic.function.log_lines(), topic.answers)
    written = {leak for text in topic.function.written for leak in leaks(text, topic.function.environment)}
    if written:
        wrong.append(f"{len(written)} keys or signatures were written.")
    (warm_calls, warm), (calls, end) = memory
    growth = max(last - first for first, last in zip(warm, end, strict=True))
    trace_ids = (calls - warm_calls) * TRACE_ID_BYTES // len(topic.processes)
    grown = f"a process has grown by {growth} bytes, of which {trace_ids} are trace ids"
    if webhooks >= JUDGED and growth > trace_ids + GROWTH_BYTES:
        wrong.append(f"{grown}.")
    duplicates = arrived.total() - len(arrived)
    print(f"{topic.name}: {len(arrived)} of {webhooks} arrived in {seconds:.0f} s, {duplicates} duplicates; {grown}")
    return [f"{topic.name}: {sentence}" for sentence in wrong]


def wrong_answers(answers):
    wrong = collections.Counter(
        (refusal or "200 or 503", status)
        for _, refusal, status in answers
        if status not in ([refusal] if refusal else [200, 503])
    )
    return [f"{count} requests were answered {got} instead of {right}." for (right, got), count in wrong.items()]


def wrong_messages(arrived, valid, lost, fifo):
    """A message may come more than once only on a standard topic, where an answer of SNS got lost."""
    for text, wrong in [
        ("valid webhooks are not on the queue", valid - set(arrived)),
        ("messages on the queue are none of the valid webhooks", set(arrived) - valid),
        ("messages came too often", [body for body in arrived if arrived[body] > 1 + (0 if fifo else lost[body])]),
    ]:
        if wrong:
            yield f"{len(wrong)} {text}, such as {min(wrong)[:80]}."


def wrong_lines(lines, answers):
    """Each call has left one line, with the id that was sent and the status that was answered."""
    objects = [json.loads(line) for line in lines]
    logged = collections.Counter((line.get("webhookId"), line.get("httpStatus")) for line in objects)
    answered = collections.Counter((webhook_id, status) for webhook_id, _, status in answers)
    for text, wrong in [
        ("calls have left no line of their own in the log", answered - logged),
        ("lines in the log belong to no call", logged - answered),
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
    print("Exactly the valid ones have arrived, each call left its line, and the memory is flat but for trace ids.")


if __name__ == "__main__":
    terminal.run(main)
