"""Readies what the Makefile's targets need: `python3 local/tools.py emulators lints`.

Checks Rust and Python, and installs what local/NAME.txt pins into a private folder, .tools/NAME, unless it is there.
Python 3.6 must be able to read this file, to be told that it is too old.
"""

import os
import re
import subprocess
import sys

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = (3, 11)


def version(numbers):
    return ".".join(str(number) for number in numbers)


def check_python():
    if sys.version_info < PYTHON:
        found = version(sys.version_info[:3])
        sys.exit(f"Python {found} is too old: {version(PYTHON)} or newer is needed, make PYTHON=... names another")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        sys.exit("Python's venv module is missing: install it (Debian and Ubuntu: apt install python3-venv)")


def check_rust():
    with open(os.path.join(CHECKOUT, "Cargo.toml")) as manifest:
        needed = re.search(r'^rust-version = "([\d.]+)"', manifest.read(), re.MULTILINE).group(1)
    try:
        subprocess.check_output(["cargo", "--version"])
        printed = subprocess.check_output(["rustc", "--version"]).decode()
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"Rust is missing: install version {needed} or newer (https://rustup.rs)")
    found = re.search(r"[\d.]+", printed).group()
    if [int(n) for n in found.split(".")] < [int(n) for n in needed.split(".")]:
        sys.exit(f"Rust {found} is too old: {needed} or newer is needed (rustup update)")


def install(name):
    pins = os.path.join(CHECKOUT, "local", name + ".txt")
    folder = os.path.join(CHECKOUT, ".tools", name)
    installed = os.path.join(folder, "installed.txt")
    with open(pins) as file:
        wanted = file.read()
    try:
        with open(installed) as file:
            if file.read() == wanted:
                return
    except OSError:
        pass
    print(f"Installing local/{name}.txt into .tools/{name}, which takes a while the first time", flush=True)
    python = os.path.join(folder, "bin", "python")
    for command in [
        [sys.executable, "-m", "venv", "--clear", folder],
        [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps", "-r", pins],
    ]:
        if subprocess.call(command) != 0:
            sys.exit(f"local/{name}.txt could not be installed: the lines above say why")
    with open(installed, "w") as file:
        file.write(wanted)


if __name__ == "__main__":
    check_python()
    # Who operates a deployed stack compiles nothing.
    if sys.argv[1:] != ["operate"]:
        check_rust()
    for name in sys.argv[1:]:
        install(name)
