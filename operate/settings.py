"""Reads a command's settings from the environment. make passes its command-line variables through the environment."""

import json
import os
import re
from pathlib import Path

from operate.pollo import InvalidKey, key_texts, read_keys
from operate.terminal import Failure

SECONDS = {"m": 60, "h": 60 * 60, "d": 24 * 60 * 60}


def stack():
    """The name of the stack in STACK, or None."""
    return os.environ.get("STACK") or None


def url(name="URL", expected="the output WebhookUrl of the stack"):
    """The URL in `name`, or None."""
    url = os.environ.get(name) or None
    if url and not url.startswith(("https://", "http://")):
        raise Failure(f"{name} is not an http or https URL; expected {expected}.")
    return url


def filter_policy():
    """The text of the filter policy in FILTER, or None."""
    text = os.environ.get("FILTER") or None
    try:
        valid = text is None or isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        valid = False
    if not valid:
        raise Failure(
            f'FILTER={text!r} is not a JSON object; expected a filter policy, such as {{"status": ["failed"]}}.'
        )
    return text


def folder(name):
    """The folder in `name`, which is created if it is missing, or None."""
    if not os.environ.get(name):
        return None
    path = Path(os.environ[name])
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{name}={str(path)!r} is not a folder: {error.strerror}.") from None
    return path


def since(default):
    """The seconds in SINCE."""
    text = os.environ.get("SINCE") or default
    match = re.fullmatch("([0-9]{1,5})([mhd])", text)
    if not match or not int(match[1]):
        raise Failure(f"SINCE={text!r} is not a time; expected a number of minutes, hours or days: 30m, 6h, 3d.")
    return int(match[1]) * SECONDS[match[2]]


def switch(name):
    """Whether `name` is set to 1."""
    value = os.environ.get(name, "")
    if value not in {"", "0", "1"}:
        raise Failure(f"{name}={value!r} is not a switch; expected {name}=1 or nothing.")
    return value == "1"


def keys():
    """The texts of the keys in WEBHOOK_SECRET: at least one, and only keys that the function accepts."""
    secret = os.environ.get("WEBHOOK_SECRET")
    expected = "expected the Base64 key from Pollo's webhook page, or several separated by commas or white space."
    if not secret:
        raise Failure(f"WEBHOOK_SECRET is not set; {expected}")
    try:
        read_keys(secret)
    except InvalidKey as error:
        raise Failure(f"WEBHOOK_SECRET: {error}; {expected}") from None
    return key_texts(secret)
