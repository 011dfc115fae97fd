"""How a command speaks with the person who runs it: sentences, one question, an exit status."""

import os
import sys

from operate import aws


class Failure(Exception):
    """Why a command cannot go on, as a sentence."""


def run(main):
    """Runs `main`, which gives the exit status, and exits with a sentence instead of a traceback."""
    # A line is shown when it is printed, also through a pipe, and in any locale.
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
        # Nobody reads any more. Python would try once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def confirm(question, yes):
    """Asks on the terminal, unless `yes` has answered already. Raises Failure if the answer is not yes."""
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise Failure("Nothing was sent: there is no terminal to ask on. Run it in one, or set YES=1.")
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in {"y", "yes"}:
        raise Failure("Nothing was sent.")


def printable(text):
    """`text` without anything that a terminal could take for a command."""
    return text if text.isprintable() else ascii(text)


def show(label, text):
    print(f"   {label:<12} {text}")


def show_fields(fields):
    show("", "  ".join(f"{name}={printable(str(value))}" for name, value in fields.items()))


def show_message(label, body, attributes):
    show(label, printable(body))
    show_fields(dict(sorted(attributes.items())))
