"""Copies of the key in the memory of the process."""

import base64
import os
import sys

import pytest

from operate.pollo import Webhook, key_bytes
from tests.end_to_end.exchange import SUCCESS, exchange


# Several lengths, because freed memory of a short key is overwritten sooner.
@pytest.mark.parametrize("length", [32, 64, 300])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a process's memory as a file")
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
