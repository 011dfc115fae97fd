"""Reads a line of a function's log."""

import base64
import json


def parse(message):
    """The fields of a line. Lambda's own lines are not all JSON."""
    try:
        line = json.loads(message)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def text(line, name):
    value = line.get(name)
    return value if isinstance(value, str) else None


def verified_body(line):
    """The body of a line, byte for byte, or None if it has none."""
    plain, in_base64 = text(line, "body"), text(line, "bodyBase64")
    try:
        if plain is not None:
            return plain.encode()
        if in_base64 is not None:
            return base64.b64decode(in_base64, validate=True)
    except ValueError:
        pass
    return None
