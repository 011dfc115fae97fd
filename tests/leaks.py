"""Finds what the function must not write: keys, and anything that could be a signature."""

import base64
import contextlib
import re

from operate.pollo import InvalidKey, key_bytes, key_texts

# Pollo's signature is the Base64 of 32 bytes. A signature of AWS is 64 hexadecimal digits.
SIGNATURE = re.compile(r"(?<![\w+/])[\w+/]{43}=|(?<!\w)[0-9a-f]{64}(?!\w)")


def spellings(secret):
    """The forms in which the bytes of a key could be written."""
    numbers = [str(byte) for byte in secret]
    return [
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        secret.hex(),
        ", ".join(numbers),
        secret.decode(errors="replace"),
    ]


def leaks(text, environment):
    """The secrets in `text` that a function with this environment has leaked."""
    found = SIGNATURE.findall(re.sub(r'"bodySha256":"[0-9a-f]{64}"', "", text))
    for variable in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]:
        found += [environment[variable]] if environment.get(variable) and environment[variable] in text else []
    for key in key_texts(environment["WEBHOOK_SECRET"]):
        written = [key]
        with contextlib.suppress(InvalidKey):
            written += spellings(key_bytes(key))
        found += [spelling for spelling in written if spelling and spelling in text]
    return found
