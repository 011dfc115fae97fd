"""What the commands share on the terminal: settings, sentences, a question and exit statuses."""

import os
import re
import sys
import time

try:
    import click
except ImportError:
    sys.exit("click is missing: run this through make, which installs it")

from operate.pollo import InvalidKey, signing_keys

SECONDS = {"m": 60, "h": 60 * 60, "d": 24 * 60 * 60}


class Failure(click.ClickException):
    """Why a command cannot continue, in sentences. The exit status is 1; that of an invalid setting is 2."""

    def show(self, file=None):
        say(self.message, err=True)


def say(text, err=False):
    """Prints text. All output of the commands goes through here: no response can control the terminal."""
    encoding = (sys.stderr if err else sys.stdout).encoding
    lines = "\n".join(map(printable, text.split("\n")))
    click.echo(lines.encode(encoding, "backslashreplace").decode(encoding), err=err)


def printable(text):
    """`text` in one line, with the escapes of Python for what is not printable."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def confirm(question, yes):
    """Asks on the terminal, unless `yes` is set. Raises Failure if the user does not agree."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure("Nothing was sent: there is no terminal to ask on. Run it in one, or set YES=1.")
    if not click.confirm(printable(question)):
        raise Failure("Nothing was sent.")


def time_ago(text):
    """The Unix seconds of an age."""
    age = re.fullmatch("([1-9][0-9]{0,4})([mhd])", text)
    if not age:
        raise click.BadParameter(f"{text!r} is not a time; expected minutes, hours or days ago: 30m, 6h, 3d.")
    return time.time() - int(age[1]) * SECONDS[age[2]]


def http_url(text):
    """The URL in a setting. No error shows it, because the URL of a function is secret."""
    if not text.startswith(("https://", "http://")):
        raise click.BadParameter("this is not an http or https URL.")
    return text


def setting(name, help, **attributes):
    """An option that the environment can set too: make passes its variables there. An empty variable is not set."""
    option = f"--{name.lower().replace('_', '-')}"
    return click.option(option, envvar=name, show_envvar=True, show_default=True, help=help, **attributes)


def keys():
    """The texts of the keys in WEBHOOK_SECRET, which is no option: everyone on the machine can read a command line."""
    try:
        return signing_keys(os.environ)
    except InvalidKey as error:
        raise click.UsageError(f"{error}") from None


STACK = setting("STACK", "The name of the stack.", required=True)
URL = setting("URL", "Send to this URL instead of the stack's.", type=http_url, metavar="URL")
YES = setting("YES", "Send without asking.", is_flag=True)
DRY = setting("DRY", "Show what would be sent, and send nothing.", is_flag=True)
SINCE = setting("SINCE", "How far back the log is read.", type=time_ago, metavar="TIME", default="72h")
UNTIL = setting("UNTIL", "Up to which age the log is read.", type=time_ago, metavar="TIME")
