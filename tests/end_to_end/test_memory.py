"""The memory of the process: copies of the key, and its size."""

import base64
import os
import re
import sys
from pathlib import Path

import pytest

from local.emulators import KEY
from operate.pollo import Webhook, key_bytes
from tests.end_to_end.conftest import SUCCESS, exchange

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a process's memory as files")

# In bytes: a function URL takes up to 6 MB, and the function may use 100 MiB.
LARGEST_BODY, LARGEST_PROCESS = 5_900_000, 100 << 20


# Several lengths, because freed memory of a short key is overwritten sooner.
@pytest.mark.parametrize("length", [32, 64, 300])
def test_memory_contains_the_key_only_in_the_environment(start, topic, length):
    key = base64.b64encode(os.urandom(length)).decode()
    function = start(WEBHOOK_SECRET=key, SNS_TOPIC_ARN=topic)
    assert exchange(function, Webhook(SUCCESS, key))[0] == 200
    # Linux puts the environment on the stack. An allocator overwrites the start of freed memory, so the test searches
    # for a piece from the end.
    assert places_in_memory(function.process.pid, key.encode()[-30:-8]) == ["[stack]"]
    assert places_in_memory(function.process.pid, key_bytes(key)[-20:-4]) == []


def places_in_memory(process, piece):
    """The names of the mappings of a process that hold `piece`."""
    found = []
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb") as memory:
        for line in maps:
            addresses, access, _, _, _, *name = line.split()
            # Pages of the kernel cannot be read and contain no data of the process.
            if "r" in access and not "".join(name).startswith(("[vvar", "[vsyscall")):
                start, end = [int(address, 16) for address in addresses.split("-")]
                memory.seek(start)
                found += ["".join(name)] * memory.read(end - start).count(piece)
    return found


@pytest.mark.parametrize(
    ("start_of_body", "repeated", "end"),
    [
        (b'{"taskId":[', b"[0],", b'0],"status":"succeed"}'),
        (b'{"status":[', b'{"a":{}},', b'0],"taskId":"t"}'),
        (b'{"taskId":"t","status":"succeed"', b',"%06x":0', b"}"),
        (b'{"taskId":"t","status":"', b"\\u0061", b'"}'),
    ],
)
def test_an_authentic_body_of_six_megabytes_takes_bounded_memory(start, start_of_body, repeated, end):
    count = (LARGEST_BODY - len(start_of_body) - len(end)) // len(repeated.replace(b"%06x", b"000000"))
    parts = (repeated % number if b"%" in repeated else repeated for number in range(count))
    function = start()
    assert exchange(function, Webhook(start_of_body + b"".join(parts) + end, KEY))[0] in {413, 422}
    largest = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{function.process.pid}/status").read_text())[1]
    assert int(largest) * 1024 <= LARGEST_PROCESS
