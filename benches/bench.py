"""Compares the function with the same work in plain Rust, Node and Python.

Writes the table in `docs/performance.md` and its chart, `docs/benchmark.svg`.
"""

import datetime
import os
import platform
import re
import time
from pathlib import Path
from statistics import median

from benches.stage import CHECKOUT, Function, event, output

STARTS = 30
WEBHOOKS = 60
FIGURES = (
    "start to ready, ms",
    "start to first response, ms",
    "processor time of a webhook, µs",
    "processor time of a forged one, µs",
    "peak memory, MiB",
)

STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#57606a}.title{font-weight:600}.bar{fill:#8c959f}.ours{fill:#0969da}"
    "@media(prefers-color-scheme:dark){text{fill:#9198a1}}</style>"
)


def measure(*command):
    """Starts a function once, and returns its figures."""
    with Function(*command) as function:
        function.wait_until_ready()
        ready = time.perf_counter()
        function.invoke(event("succeed"), 200)
        responded = time.perf_counter()
        webhook = processor_time(function, event("succeed"), 200)
        forged = processor_time(function, event("wrong-signature"), 401)
        milliseconds = [(moment - function.started) * 1000 for moment in (ready, responded)]
        return *milliseconds, webhook, forged, function.memory("VmHWM") / 1024


def processor_time(function, event, status):
    """Microseconds per webhook. The first ten webhooks do not count."""
    counts = []
    for webhooks in (10, WEBHOOKS):
        for _ in range(webhooks):
            function.invoke(event, status)
        function.wait_until_ready()
        counts.append(function.processor_microseconds())
    return (counts[1] - counts[0]) / WEBHOOKS


def table(rows):
    """The medians in Markdown, with their ratios to the first row."""
    lines = [["", *FIGURES], ["---"] * (1 + len(FIGURES))]
    ours = next(iter(rows.values()))
    for name, figures in rows.items():
        pairs = zip(figures, ours, strict=True)
        lines.append([name, *(f"{digits(figure)} ({figure / our:.1f} ×)" for figure, our in pairs)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def chart(rows):
    """Bars for each figure but the first."""
    bars, y = [], 24
    for title, *figures in list(zip(FIGURES, *rows.values(), strict=True))[1:]:
        bars.append(f'<text class="title" x="10" y="{y}">{title}</text>')
        for number, (name, figure) in enumerate(zip(rows, figures, strict=True)):
            y, width = y + 22, max(figure / max(figures) * 440, 1)
            bars += [
                f'<text x="210" y="{y + 1}" text-anchor="end">{name}</text>',
                f'<rect class="bar{"" if number else " ours"}" x="220" y="{y - 12}" width="{width:.0f}" height="16" rx="2"/>',
                f'<text x="{228 + width:.0f}" y="{y + 1}">{digits(figure)}</text>',
            ]
        y += 40
    title = "<title>pollo-webhook compared with other implementations: less is better</title>"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {y - 20}" role="img">'
    return "\n".join([head, title, STYLE, *bars, "</svg>\n"])


def digits(figure):
    return f"{figure:.1f}" if figure < 100 else f"{figure:.0f}"


def main():
    target, node = CHECKOUT / "target", output("node", "--version").lstrip("v")
    python, handler = CHECKOUT / ".tools/emulators/bin/python", CHECKOUT / "benches/python/handler.py"
    peers = {
        "pollo-webhook": [target / "release/pollo-webhook"],
        "plain Rust": [target / "release/plain"],
        f"Node {node}, AWS SDK 3": ["node", "--no-warnings", target / "node/handler.mjs"],
        f"Python {platform.python_version()}, boto3": [python, handler],
    }
    # The first round warms up the machine.
    rounds = [[measure(*command) for command in peers.values()] for _ in range(1 + STARTS)][1:]
    medians = [[median(figures) for figures in zip(*starts, strict=True)] for starts in zip(*rounds, strict=True)]
    rows = dict(zip(peers, medians, strict=True))
    (CHECKOUT / "docs/benchmark.svg").write_text(chart(rows))

    cpu = re.search("model name\\s*: (.+)", Path("/proc/cpuinfo").read_text())
    machine = f"{os.cpu_count()} cores of {cpu[1] if cpu else platform.machine()}, Linux {platform.release()}"
    section = f"""
Made by `make bench` on {datetime.date.today()} at commit {output("git", "rev-parse", "--short", "HEAD")}, on {machine}:
medians of {STARTS} starts of each, in turn. SNS runs on the same machine, over TLS, and responds at once. The processor
time is that of the function's process. See [what the bench does not model](#what-the-bench-does-not-model).

{table(rows)}
"""
    page = CHECKOUT / "docs/performance.md"
    between = r"(?s)(?<=<!-- make bench writes from here -->\n).*(?=<!-- to here -->)"
    page.write_text(re.sub(between, lambda _: section, page.read_text()))
    print(section)


if __name__ == "__main__":
    main()
