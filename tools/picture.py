"""Draws docs/demo.svg, the picture of the README: `.tools/sam/bin/python tools/picture.py`, after `make demo`."""

import os
import pty
import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 116

printed = bytearray()


def keep(terminal):
    read = os.read(terminal, 65536)
    printed.extend(read)
    return read


os.chdir(Path(__file__).resolve().parent.parent)
if pty.spawn(["make", "demo"], keep):
    sys.exit("make demo failed")
# The picture shows the first webhook only.
[text] = re.findall(r"\n1  .*?(?=\n2  )", printed.decode().replace("\r", ""), re.DOTALL)
console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
console.print(Text("$ make demo\n"), Text.from_ansi(text), sep="")
# Without fonts, which a browser would load from another host.
svg = re.sub(r"@font-face \{.*?\}\n", "", console.export_svg(title="make demo"), flags=re.DOTALL)
Path("docs/demo.svg").write_text(svg)
