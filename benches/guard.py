"""Counts what the function costs, and compares the counts with the ceilings in `benches/ceilings.txt`.

A start and a first webhook run cold code: their time follows the cache lines and pages that they touch for the first
time. A further webhook runs warm code: its time follows the instructions. Unlike times, these counts hardly differ
between a busy machine and an idle one, or between processors.
"""

import base64
import hmac
import re
import shutil
import tempfile
from pathlib import Path
from statistics import median_low

import click

from benches.stage import CHECKOUT, TRUST, Function, event, output, settings

CEILINGS = CHECKOUT / "benches/ceilings.txt"

# The last level is larger than what the function touches: a miss there is the first use of 64 bytes of memory.
CACHES = ["--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=33554432,16,64"]

# Instructions per webhook. Equal work differs by up to 70, as waiting and the log's date vary; a leak by thousands.
EQUAL_WITHIN = 500


def cachegrind(binary, events, trust=TRUST, **variables):
    """Instructions and new cache lines of code and of data. `events` are pairs of an event and the expected status."""
    with tempfile.NamedTemporaryFile("r") as log:
        tool = ["valgrind", "--tool=cachegrind", *CACHES, "--cachegrind-out-file=/dev/null", f"--log-file={log.name}"]
        with Function(*tool, binary, trust=trust, **variables) as function:
            for sent, status in events:
                function.invoke(sent, status)
            function.wait_until_ready()
            function.process.terminate()
            function.process.wait()
        if function.sns_connections > 1:
            # On a busy machine, valgrind can make the function exceed its time-outs and try again.
            return cachegrind(binary, events, trust, **variables)
        counts = re.findall(r"(?:I +refs|LLi misses|LLd misses): +([\d,]+)", log.read())
    return [int(count.replace(",", "")) for count in counts]


def costs(binary):
    """Counts each figure of the ceilings."""
    succeed, forged = (event("succeed"), 200), (event("wrong-signature"), 401)
    _, code, data = cachegrind(binary, [], trust=[])
    # A webhook is the difference of two runs. Both trust the certificate of this program's SNS.
    _, code_before, data_before = cachegrind(binary, [])
    first, first_code, first_data = cachegrind(binary, [succeed])
    further, rejected = [cachegrind(binary, [succeed, *[more] * 20])[0] - first for more in (succeed, forged)]
    faults, first_faults, peak = map(median_low, zip(*[pages(binary) for _ in range(10)], strict=True))
    return {
        "cache lines of code, start": code,
        "cache lines of code, first webhook": first_code - code_before,
        "cache lines of data, start": data,
        "cache lines of data, first webhook": first_data - data_before,
        "page faults, start": faults,
        "page faults, first webhook": first_faults,
        "KiB of memory, first webhook": peak,
        "instructions, further webhook": further // 20,
        "instructions, rejected webhook": rejected // 20,
        "bytes of the zip": binary.with_suffix(".zip").stat().st_size,
        "bytes of growth, webhook": growth(binary, traced=False),
        "bytes of growth, webhook with a trace id": growth(binary, traced=True),
    }


def pages(binary):
    """Page faults of a start and of a first webhook, and the peak memory in KiB."""
    with Function(binary) as function:
        function.wait_until_ready()
        start = function.page_faults()
        function.invoke(event("succeed"), 200)
        function.wait_until_ready()
        return start, function.page_faults() - start, function.memory("VmHWM")


def growth(binary, traced):
    """By how many bytes the memory of a process grows per webhook. Linux counts memory in pages of 4 KiB."""
    events = [(event("succeed"), 200), (event("wrong-signature"), 401), (event("not-an-outcome"), 422)]
    with Function(binary) as function:
        for number in range(11_000):
            if number == 1_000:
                before = function.memory("RssAnon")
            trace = f"Root=1-69558b80-{number:024x};Parent=53995c3f42cd8ad8;Sampled=0"
            function.invoke(*events[number % 3], **({"Lambda-Runtime-Trace-Id": trace} if traced else {}))
        return (function.memory("RssAnon") - before) * 1024 // 10_000


def leaks(binary):
    """By how many instructions a webhook differs whose first or last byte is wrong, or whose first or last key is right."""
    # The function rejects this body without a look at the clock or a hash, whose instructions vary.
    signed, key = event("succeed") | {"body": "[]"}, settings()["WEBHOOK_SECRET"]
    mac = hmac.digest(base64.b64decode(key), b"msg_succeed.1767225600.[]", "sha256")
    other_keys = [base64.b64encode(bytes([number]) * 33).decode() for number in range(1, 8)]

    def instructions(mac, status, *keys):
        # As many signatures as the function compares.
        signatures = " ".join([base64.b64encode(bytes(mac)).decode()] * 32)
        sent = signed | {"headers": signed["headers"] | {"x-webhook-signature": signatures}}
        return cachegrind(binary, [(sent, status)] * 100, WEBHOOK_SECRET=" ".join(keys))[0] // 100

    byte = instructions([mac[0] ^ 1, *mac[1:]], 401, key) - instructions([*mac[:-1], mac[-1] ^ 1], 401, key)
    right = instructions(mac, 422, key, *other_keys) - instructions(mac, 422, *other_keys, key)
    return {
        "instructions between a first and a last wrong byte": abs(byte),
        "instructions between a first and a last right key": abs(right),
    }


@click.command(help=__doc__)
@click.option("--set", "setting", is_flag=True, help="Set the ceilings anew.")
@click.argument("binary", type=click.Path(exists=True, path_type=Path))
def main(binary, setting):
    if not shutil.which("valgrind"):
        raise SystemExit("valgrind is missing: install it (Debian and Ubuntu: apt install valgrind).")
    # Without these files, the guard would not notice a start that reads them.
    if not any(Path("/etc/ssl/certs").glob("*.pem")):
        raise SystemExit("The system's certificates are missing: install them (apt install ca-certificates).")
    compiler, counts, differences = output("rustc", "--version"), costs(binary), leaks(binary)
    if setting:
        head = CEILINGS.read_text().partition("rustc ")[0]
        lines = [f"{count * 104 // 100 + 8:>9,} {name}\n" for name, count in counts.items()]
        CEILINGS.write_text(f"{head}{compiler}\n\n{''.join(lines)}")
    text = CEILINGS.read_text()
    lines = re.findall(r"^ *([\d,]+) (.+)$", text, re.MULTILINE)
    ceilings = dict.fromkeys(differences, EQUAL_WITHIN) | {name: int(number.replace(",", "")) for number, name in lines}
    above = [name for name, count in (counts | differences).items() if count > ceilings[name]]
    click.echo("  counted   ceiling")
    for name, count in (counts | differences).items():
        click.echo(f"{count:>9,} {ceilings[name]:>9,}  {name}{'  <- TOO MANY' if name in above else ''}")
    if compiler not in text:
        click.echo(f"Another compiler set the ceilings, so counts can differ. This machine has {compiler}")
    if above:
        raise SystemExit("Find the cause. To accept a cost, set the ceilings: python -m benches.guard --set BINARY")


if __name__ == "__main__":
    main()
