"""Installs the tools of the Makefile's targets: `python3 tools/install.py emulators lints`.

Checks Python, Rust and the linker first. Then installs what tools/NAME.txt pins into .tools/NAME, unless it is there.
The syntax is that of Python 3.6, so that an old version can print the error.
"""

import re
import signal
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def check_rust():
    needed = re.search(r'^rust-version = "([\d.]+)"', (CHECKOUT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
    cargo, rustc = version("cargo"), version("rustc")
    if not (cargo and rustc):
        sys.exit(f"Rust is missing: install version {needed} or newer (https://rustup.rs)")
    found = re.search(r"[\d.]+", rustc).group()
    if [int(n) for n in found.split(".")] < [int(n) for n in needed.split(".")]:
        sys.exit(f"Rust {found} is too old: {needed} or newer is needed (rustup update)")
    if not version("cc"):
        sys.exit("A C compiler is missing, with which Rust links: install gcc or clang, with the command cc")


def version(command):
    """What a command prints about its version, or nothing if it is missing."""
    try:
        return subprocess.check_output([command, "--version"], stderr=subprocess.DEVNULL).decode()
    except (OSError, subprocess.CalledProcessError):
        return ""


def install(name):
    pins = CHECKOUT / "tools" / f"{name}.txt"
    folder = CHECKOUT / ".tools" / name
    installed = folder / "installed.txt"
    if installed.exists() and installed.read_text() == pins.read_text():
        return
    print(f"Installing tools/{name}.txt into .tools/{name}, which can take minutes", flush=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
    for command in [
        [sys.executable, "-m", "venv", "--clear", folder],
        # With --no-deps, because a list can leave out a dependency on purpose.
        [*pip, "--no-deps", "--require-hashes", "-r", pins],
    ]:
        if subprocess.call(command) != 0:
            sys.exit(f"tools/{name}.txt could not be installed: see the lines above")
    installed.write_text(pins.read_text())


if __name__ == "__main__":
    # Lets Ctrl-C end the command without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.version_info < (3, 11):  # noqa: UP036
        found = sys.version.split()[0]
        sys.exit(f"Python {found} is too old: install 3.11 or newer, or set make PYTHON=...")
    # A release has the compiled function instead of its source, and the commands for a deployed stack need neither.
    if (CHECKOUT / "Cargo.toml").exists() and sys.argv[1:] != ["operate"]:
        check_rust()
    for name in sys.argv[1:]:
        install(name)
