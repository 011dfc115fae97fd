"""The output of a command: sentences, a question and the exit status."""

import os
import signal
import sys

from operate import aws


class Failure(Exception):
    """Why a command cannot continue, as a sentence."""


def run(main):
    """Runs `main`, which returns the exit status, and exits with a sentence instead of a traceback."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Prints each line at once, even into a pipe, and in any locale.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"{failure}")
    except aws.ERRORS as error:
        sys.exit(aws.sentence(error))
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the output is gone. Without this, Python would write again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def confirm(question, yes):
    """Asks on the terminal, unless `yes` is set. Raises Failure if the user does not confirm."""
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise Failure("Nothing was sent: there is no terminal to ask on. Run it in one, or set YES=1.")
    try:
        reply = input(f"{question} [y/N] ")
    except EOFError:
        reply = ""
    if reply.strip().lower() not in {"y", "yes"}:
        raise Failure("Nothing was sent.")


def printable(text):
    """`text` without characters that a terminal could interpret as commands."""
    return text if text.isprintable() else ascii(text)


def show(label, text):
    print(f"   {label:<12} {text}")


def show_fields(fields):
    show("", "  ".join(f"{name}={printable(str(value))}" for name, value in fields.items()))


def show_message(label, body, attributes):
    show(label, printable(body))
    show_fields(dict(sorted(attributes.items())))
