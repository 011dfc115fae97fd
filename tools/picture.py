"""Draws docs/demo.svg, the picture of the README: `.tools/sam/bin/python tools/picture.py`, after `make demo`."""

import pty
import re
import sys
from io import StringIO
from os import chdir, read
from pathlib import Path

from rich.console import Console
from rich.text import Text

printed = bytearray()


def keep(terminal):
    printed.extend(part := read(terminal, 65536))
    return part


chdir(Path(__file__).resolve().parent.parent)
if pty.spawn(["make", "demo"], keep):
    sys.exit("make demo failed")
# Without what the compiler and the installer print.
_, queues, text = printed.decode().replace("\r", "").partition("The queues of the topic")
console = Console(record=True, width=100, file=StringIO(), force_terminal=True)
console.print(Text("$ make demo\n\n"), Text.from_ansi(queues + text), sep="")
# Without fonts, which a browser would load from another host.
svg = re.sub(r"@font-face \{.*?\}\n", "", console.export_svg(title="make demo"), flags=re.DOTALL)
Path("docs/demo.svg").write_text(svg)
