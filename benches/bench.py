"""Compares the function with the same work in plain Rust, Node and Python.

Writes the table in `docs/performance.md` and its chart, `docs/benchmark.svg`.
"""

import datetime
import os
import platform
import re
import subprocess
import time
from pathlib import Path
from statistics import median

from benches.stage import CHECKOUT, Function, event

TARGET = CHECKOUT / "target"
OURS, PLAIN = TARGET / "release/pollo-webhook", TARGET / "release/plain"
PYTHON, HANDLER = CHECKOUT / ".tools/emulators/bin/python", CHECKOUT / "benches/python/handler.py"

STARTS = 30
WEBHOOKS = 60

FIGURES = ("start to ready, ms", "start to first response, ms", "a webhook, µs", "a forged one, µs", "peak memory, MiB")

CHART = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" role="img">
<title>pollo-webhook compared with other implementations: less is better</title>
<style>text{{font:13px system-ui,sans-serif;fill:#57606a}}.title{{font-weight:600}}.bar{{fill:#8c959f}}.ours{{fill:#0969da}}
@media(prefers-color-scheme:dark){{text{{fill:#9198a1}}}}</style>
{bars}
</svg>
"""
BAR = """<text x="210" y="{y}" text-anchor="end">{name}</text>
<rect class="{kind}" x="220" y="{top}" width="{width:.0f}" height="16" rx="2"/>
<text x="{end:.0f}" y="{y}">{value}</text>"""

SECTION = """
Made by `make bench` on {date} at commit {commit}, on {cores} cores of {processor}, {system}: medians of {starts} starts of
each, in turn. SNS runs on the same machine, over TLS, and responds at once. The times of a webhook are the processor time
of the function's process. See [what the bench does not model](#what-the-bench-does-not-model).

{table}
The binary of pollo-webhook has {ours:.1f} MB, that of plain Rust {plain:.1f} MB.

"""


def measure(*command):
    """Starts a function once, and returns its figures."""
    with Function(*command) as function:
        function.wait_until_ready()
        ready = time.perf_counter()
        function.invoke(event("succeed"), 200)
        responded = time.perf_counter()
        webhook = processor_microseconds(function, event("succeed"), 200)
        forged = processor_microseconds(function, event("wrong-signature"), 401)
        if function.published != 1 + 10 + WEBHOOKS:
            raise SystemExit(f"{command[-1]} has published {function.published} outcomes.")
        start = function.started
        return (ready - start) * 1e3, (responded - start) * 1e3, webhook, forged, function.memory("VmHWM") / 1024


def processor_microseconds(function, event, status):
    """Per webhook. The first ten are not counted."""
    before = 0
    for number in range(10 + WEBHOOKS):
        function.wait_until_ready()
        if number == 10:
            before = function.processor_nanoseconds()
        function.invoke(event, status)
    function.wait_until_ready()
    return (function.processor_nanoseconds() - before) / WEBHOOKS / 1e3


def table(rows):
    """The medians in Markdown, with their ratios to the first row."""
    lines = [["", *FIGURES], ["---"] * (1 + len(FIGURES))]
    (first, ours), *others = rows.items()
    lines.append([first, *(f"**{digits(value)}**" for value in ours)])
    for name, figures in others:
        ratios = zip(figures, ours, strict=True)
        lines.append([name, *(f"{digits(value)} ({value / our:.1f} ×)" for value, our in ratios)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def chart(rows):
    bars, y = [], 24
    for title, *values in list(zip(FIGURES, *rows.values(), strict=True))[1:]:
        bars.append(f'<text class="title" x="10" y="{y}">{title}</text>')
        for name, value in zip(rows, values, strict=True):
            y += 22
            width, kind = max(value / max(values) * 440, 1), "bar" if name != next(iter(rows)) else "bar ours"
            bars.append(
                BAR.format(y=y, top=y - 13, name=name, kind=kind, width=width, end=228 + width, value=digits(value))
            )
        y += 40
    return CHART.format(height=y - 20, bars="\n".join(bars))


def digits(value):
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main():
    peers = {
        "pollo-webhook": [OURS],
        "plain Rust": [PLAIN],
        f"Node {output('node', '--version').lstrip('v')}, AWS SDK 3": ["node", TARGET / "node/handler.mjs"],
        f"Python {platform.python_version()}, boto3": [PYTHON, HANDLER],
    }
    runs = {name: [] for name in peers}
    # The first round warms up the machine.
    for number in range(1 + STARTS):
        print(f"\rround {number} of {STARTS}", end="", flush=True)
        for name, command in peers.items():
            runs[name].append(measure(*command))
    rows = {name: [median(values[1:]) for values in zip(*figures, strict=True)] for name, figures in runs.items()}
    processor = re.search(r"^model name\s*: (.+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    section = SECTION.format(
        date=datetime.date.today(),
        commit=output("git", "rev-parse", "--short", "HEAD"),
        cores=os.cpu_count(),
        processor=processor[1] if processor else "an unknown processor",
        system=f"{platform.system()} {platform.release()}",
        starts=STARTS,
        table=table(rows),
        ours=OURS.stat().st_size / 1e6,
        plain=PLAIN.stat().st_size / 1e6,
    )
    (CHECKOUT / "docs/benchmark.svg").write_text(chart(rows))
    page = CHECKOUT / "docs/performance.md"
    between = r"(<!-- make bench writes from here -->\n).*(<!-- to here -->)"
    page.write_text(re.sub(between, lambda marker: marker[1] + section + marker[2], page.read_text(), flags=re.DOTALL))
    print(section)


if __name__ == "__main__":
    main()
