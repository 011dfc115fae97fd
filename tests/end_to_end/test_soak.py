"""Load: many valid, forged and malformed webhooks to two processes, while one call of SNS in ten fails.

python -m pytest -m soak        # SOAK_WEBHOOKS=2000 is shorter, and too short to see memory grow
"""

import collections
import json
import os
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3
from werkzeug.wrappers import Request, Response

from local import emulators
from local.emulators import KEY
from local.front import serving
from operate.pollo import NOBODYS_KEY, Webhook

WEBHOOKS, SENDERS, RETRIES = int(os.environ.get("SOAK_WEBHOOKS", "20000")), 8, 10

# Bytes by which a process may grow after the first quarter, and by each call: lambda_runtime puts the trace id into the
# environment, and glibc's setenv never frees a value.
GROWTH, TRACE_ID = 2 << 20, 144


def webhook(number):
    """A webhook, and the status that rejects it, or None."""
    text = random.choice(["", "é 😀", 'a "quoted"\r\n\tline', "x" * random.randrange(2000)])
    outcome = {"taskId": f"task {number}", "status": random.choice(["succeed", "failed"]), "failMsg": text}
    valid = Webhook(json.dumps(outcome, ensure_ascii=random.choice([True, False])).encode(), KEY, id=f"msg_{number}")
    rejected = [
        (replace(valid, key=NOBODYS_KEY), 401),
        (replace(valid, timestamp="soon"), 400),
        (replace(valid, body=valid.body[:-1]), 422),
        (replace(valid, body=valid.body + b" " * 1_048_576), 413),
    ]
    return random.choice(rejected) if number % 7 == 0 else (valid, None)


def failing(sns):
    """Passes calls to SNS. One in ten fails, before or after SNS has published the message."""

    @Request.application
    def application(request):
        body, fault = request.get_data(), random.randrange(30)
        if fault == 0:
            return Response(status=503)
        headers = {name: request.headers[name] for name in ["Authorization", "Content-Type", "X-Amz-Date"]}
        received = urllib3.request("POST", sns.url, body=body, headers=headers, retries=False)
        if fault == 1:
            request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return Response(received.data, 500 if fault == 2 else received.status)

    return serving(application)


def resident(process):
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.soak
@pytest.mark.parametrize("name", ["outcomes", "outcomes.fifo"])
def test_exactly_the_valid_webhooks_arrive_and_memory_does_not_grow(start, binary, sns, name):
    topic = sns.topic(name)
    queue = sns.subscribed_queue(topic, name)
    arrived, settled, calls, sizes = collections.Counter(), set(), [], []

    def send(number):
        sent, rejection = webhook(number)
        for _ in range(1 + RETRIES):
            status = function.send(sent)[0]
            calls.append(status)
            if status == (rejection or 200):
                settled.update([] if rejection else [sent.body.decode()])
                return
            assert (status, rejection) == (503, None)
            time.sleep(0.1)
        raise AssertionError(f"{sent.body} was not published")

    with failing(sns) as url:
        function = start(SNS_TOPIC_ARN=topic, AWS_ENDPOINT_URL_SNS=url)
        other = emulators.started([binary], function.printed, env=function.environment)
        with other as (process, _), ThreadPoolExecutor(SENDERS) as threads:
            for first in range(0, WEBHOOKS, WEBHOOKS // 20):
                list(threads.map(send, range(first, first + WEBHOOKS // 20)))
                # Only now, because the emulated FIFO queue forgets a message that is deleted.
                arrived.update(body for body, _ in queue.take())
                sizes.append([resident(function.process), resident(process)])
    assert set(arrived) == settled
    assert name == "outcomes" or arrived.total() == len(arrived)
    # Each call has one line. The fixture `start` searches the lines for secrets.
    assert len(function.log_lines()) == len(calls)
    grown = max(last - first for first, last in zip(sizes[4], sizes[-1])) - len(calls) * TRACE_ID // 2
    print(f"{len(settled)} of {WEBHOOKS} arrived, {arrived.total() - len(arrived)} twice; {grown} bytes grown")
    assert grown <= GROWTH or WEBHOOKS < 20_000
