"""Load and soak: many webhooks, valid, forged and malformed, through several processes of the compiled function to an
SNS that fails one time in ten, and at the end exactly the valid ones on the queues, with the memory as it was.

    python -m trials.soak [WEBHOOKS]

WEBHOOKS, 100000 by default, go half to a standard topic and half to a FIFO topic. SEED repeats a run with its faults, and
FUNCTION_BINARY names a function that is built already. 2000 webhooks take half a minute, but are too few to judge memory;
100000 show a leak of 400 bytes a webhook. What the runtime is known to keep is subtracted.

The emulator of FIFO queues forgets a message with its deletion, which SQS does not. So a message is deleted there once its
sender has heard 200, after which no try can follow.
"""

import collections
import contextlib
import dataclasses
import json
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local import emulators
from local.emulators import KEY
from operate import terminal
from operate.pollo import NOBODYS_KEY, Webhook
from operate.terminal import Failure
from tests.leaks import leaks
from trials.faults import TAKEN, Fault, proxy
from trials.sender import RETRIES, deliver

# Processes of the function, as Lambda runs several, and twice as many senders, so that none is idle.
PROCESSES = 6
SENDERS = 2 * PROCESSES

# One call in ten fails. A hang takes two seconds, which is why there are fewer of these.
FAULTS = [*[Fault.REFUSED, Fault.RESET, Fault.ANSWERED_500, Fault.UNANSWERED] * 6, Fault.HANGS]

# The emulator's pace goes by the length of its queues: no more is sent while so many messages have not been taken out.
BACKLOG = 50

# Seconds until a webhook is sent again.
WAIT = 0.1

# How much a process may grow after the first quarter of the run, and from how many webhooks on that is judged. In a shorter
# run, a process may receive its first body of 1 MiB late, and keeps room for it.
GROWTH_BYTES, JUDGED = 2 << 20, 20_000

# What each call leaves behind all the same: lambda_runtime puts its trace id into the environment, and glibc's setenv keeps
# each value that it was ever given.
TRACE_ID_BYTES = 144


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    body: bytes
    headers: dict
    # That of each answer, or None for a valid webhook, which SNS may make wait.
    refusal: int | None


def request(number, seed):
    """The request of this number, signed now. Of twenty, two are forged and one is malformed."""
    dice = random.Random(f"{seed} {number}")
    outcome = {
        "taskId": f"task {number}",
        "status": dice.choice(["succeed", "failed"]),
        "credit": dice.randrange(100),
        "failMsg": dice.choice(["", "é 😀", 'a "quoted"\r\n\tline', "x" * dice.randrange(2000)]),
    }
    body = json.dumps(outcome, ensure_ascii=dice.choice([True, False]), indent=dice.choice([None, 2])).encode()
    content_type = dice.choice(["application/json", "text/plain", "application/octet-stream"])
    webhook = Webhook(body, KEY, id=f"msg_{number}", content_type=content_type)
    headers = webhook.headers()
    match number % 20:
        case 0:
            return Request("POST", body, dataclasses.replace(webhook, key=NOBODYS_KEY).headers(), 401)
        case 1:
            return Request("POST", body.replace(b'"credit": ', b'"credit": 1'), headers, 401)
        case 2:
            return malformed(number // 20, webhook)
    return Request("POST", body, headers, None)


def malformed(number, webhook):
    headers = webhook.headers()
    match number % 6:
        case 0:
            missing = ["X-Webhook-Id", "X-Webhook-Timestamp", "X-Webhook-Signature"][number // 6 % 3]
            del headers[missing]
            return Request("POST", webhook.body, headers, 400)
        case 1:
            return Request("GET", b"", headers, 405)
        case 2:
            body, refusal = webhook.body[:-1], 422
        case 3:
            body, refusal = webhook.body.replace(b'"status": "', b'"status": "un'), 422
        case 4:
            body, refusal = webhook.body + b" " * 1_048_576, 413
        case 5:
            webhook, body, refusal = dataclasses.replace(webhook, timestamp="soon"), webhook.body, 400
    return Request("POST", body, dataclasses.replace(webhook, body=body).headers(), refusal)


class Queue:
    """What has arrived, taken out all the while."""

    def __init__(self, queue):
        self.queue = queue
        self.arrived = collections.Counter()
        # Those that are sent no more, and whether these are all.
        self.settled, self.over = set(), threading.Event()

    def drain(self):
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


def resident_bytes(process):
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Faults:
    """The faults of a run. They follow from the seed, the message and the number of the call, in whatever order."""

    def __init__(self, seed):
        self.seed = seed
        self.calls, self.lost = collections.Counter(), collections.Counter()
        # What SNS has, whoever knows of it.
        self.taken = set()

    def policy(self, message):
        self.calls[message] += 1
        dice = random.Random(f"{self.seed} {self.calls[message]} {message}")
        fault = dice.choice(FAULTS) if dice.random() < 0.1 else None
        if fault in TAKEN:
            self.lost[message] += 1
        return fault


class Topic:
    """A topic with its queue, behind processes of the function, and in front of emulators of its own."""

    def __init__(self, stack, binary, name, seed):
        self.name, self.seed, self.faults = name, seed, Faults(seed)
        self.parts = stack.enter_context(contextlib.ExitStack())
        sns = self.parts.enter_context(emulators.sns())
        arn = sns.topic(name)
        self.queue = Queue(sns.subscribed_queue(arn, name))
        url = self.parts.enter_context(proxy(sns, self.faults.policy, self.faults.taken.add))
        settings = {"SNS_TOPIC_ARN": arn, "WEBHOOK_TOLERANCE_SECONDS": "300"}
        self.function = self.parts.enter_context(emulators.function(binary, url, **settings))
        self.processes = [self.function.process]
        for _ in range(PROCESSES - 1):
            more = emulators.started([binary], self.function.printed, env=self.function.environment)
            self.processes.append(self.parts.enter_context(more)[0])
        self.answers, self.tries, self.valid = [], [], set()

    def send(self, number):
        sent = request(number, self.seed)

        def call():
            status, _, _ = self.function.request(sent.method, sent.body, sent.headers)
            self.answers.append((sent.headers.get("X-Webhook-Id"), sent.refusal, status))
            return status

        while len(self.faults.taken) - len(self.queue.arrived) > BACKLOG:
            time.sleep(0.05)
        if sent.refusal:
            call()
            return
        self.valid.add(sent.body)
        self.tries.append(deliver(call, [WAIT] * RETRIES, time.sleep))
        self.queue.settled.add(sent.body)

    def send_all(self, numbers):
        for number in numbers:
            self.send(number)


def soak(topic, webhooks):
    """Sends `webhooks` to the topic's function. Gives the figures, and sentences for whatever is wrong."""
    memory = []
    with ThreadPoolExecutor(SENDERS + 1) as threads:
        draining = threads.submit(topic.queue.drain)
        try:
            start = time.monotonic()
            # Memory is compared from the first quarter on, once each process has become warm.
            for part in [range(webhooks // 4), range(webhooks // 4, webhooks)]:
                numbers = iter(part)
                for sender in [threads.submit(topic.send_all, numbers) for _ in range(SENDERS)]:
                    sender.result()
                memory.append((len(topic.answers), [resident_bytes(process) for process in topic.processes]))
            seconds = time.monotonic() - start
        finally:
            topic.queue.over.set()
    draining.result()
    ended = [process.pid for process in topic.processes if process.poll() is not None]
    # Once the function has ended, all of its lines are here.
    topic.parts.close()
    lines = topic.function.log_lines()

    answers, arrived, lost = topic.answers, topic.queue.arrived, topic.faults.lost
    wrong = [f"Process {pid} of the function has ended." for pid in ended]
    if None in topic.tries:
        wrong.append(f"{topic.tries.count(None)} valid webhooks were never answered 200.")
    wrong += wrong_answers(answers)
    wrong += wrong_messages(arrived, topic.valid, lost, fifo=topic.name.endswith(".fifo"))
    wrong += wrong_lines(lines, answers)
    written = {leak for text in topic.function.written for leak in leaks(text, topic.function.environment)}
    if written:
        wrong.append(f"{len(written)} keys or signatures were written.")
    (warm_calls, warm), (calls, end) = memory
    growth = max(last - first for first, last in zip(warm, end, strict=True))
    trace_ids = (calls - warm_calls) * TRACE_ID_BYTES // len(topic.processes)
    if webhooks >= JUDGED // 2 and growth > trace_ids + GROWTH_BYTES:
        wrong.append(f"A process has grown by {mebibytes(growth)}, of which {mebibytes(trace_ids)} are trace ids.")
    statuses = collections.Counter(status for _, _, status in answers)
    figures = {
        "webhooks": webhooks,
        "of them valid": len(topic.valid),
        "calls": len(answers),
        **{f"answered {status}": statuses[status] for status in sorted(statuses)},
        "arrived, of them": len(arrived),
        "duplicates": arrived.total() - len(arrived),
        "calls to SNS": topic.faults.calls.total(),
        "whose answer got lost": lost.total(),
        "most tries of a webhook": max(number for number in topic.tries if number),
        "seconds": f"{seconds:.0f}",
        "webhooks a second": f"{webhooks / seconds:.0f}",
        "largest process": mebibytes(max(end)),
        "most growth since 25 %": mebibytes(growth),
        "of it trace ids": mebibytes(trace_ids),
    }
    return figures, [f"{topic.name}: {sentence}" for sentence in wrong]


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


def mebibytes(number):
    return f"{number / (1 << 20):.1f} MiB"


def main():
    webhooks = int(sys.argv[1]) if sys.argv[1:] else 100_000
    seed = os.environ.get("SEED", str(random.randrange(1_000_000)))
    binary = emulators.binary("--release")
    print(f"{webhooks} webhooks, {PROCESSES} processes of the function on each topic, seed {seed}\n")
    names = ["standard", "outcomes.fifo"]
    with ThreadPoolExecutor(len(names)) as threads, contextlib.ExitStack() as stack:
        topics = list(threads.map(lambda name: Topic(stack, binary, name, seed), names))
        standard, fifo = threads.map(lambda topic: soak(topic, webhooks // 2), topics)
    print(f"{'topic':<26}{'standard':>10}{'FIFO':>10}")
    for figure in standard[0] | fifo[0]:
        print(f"{figure:<26}{standard[0].get(figure, 0):>10}{fifo[0].get(figure, 0):>10}")
    wrong = standard[1] + fifo[1]
    if wrong:
        raise Failure("\n".join(wrong))
    print("\nExactly the valid ones have arrived, each call left its line, and the memory is flat but for trace ids.")


if __name__ == "__main__":
    terminal.run(main)
