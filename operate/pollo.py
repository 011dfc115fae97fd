"""Reads keys exactly as the function does, and signs webhooks as Pollo's page describes. Requires only Python."""

import base64
import hashlib
import hmac
import re
import time
from dataclasses import dataclass, field

# A key that neither Pollo nor any function has.
NOBODYS_KEY = "bm9ib2R5IGhhcyB0aGlzIGtleQ=="

# The key of events/local.env, which everyone can read.
PUBLISHED_KEY = "cG9sbG8td2ViaG9vay1wdWJsaXNoZWQtdGVzdC1rZXk="

# A shorter key can be guessed.
MIN_KEY_BYTES = 16

# White space as Unicode and Rust define it. Python also counts the four information separators.
NO_WHITE_SPACE = re.compile(r"[\S\x1c-\x1f]+")


class InvalidKey(ValueError):
    """Why a key was rejected. Names its number, counted from one, and never its text."""


def key_texts(secret):
    """The texts of the keys in `secret`, the value of WEBHOOK_SECRET: separated by commas, white space or both.

    Two commas with no text between them contain an empty key.
    """
    return [text for piece in secret.split(",") for text in NO_WHITE_SPACE.findall(piece) or [""]]


def key_bytes(text, number=1):
    """The bytes of one key. Raises InvalidKey, which names the key by `number`."""
    if not text:
        raise InvalidKey(f"key {number} is empty")
    digits = text.removeprefix("whsec_").rstrip("=").replace("-", "+").replace("_", "/")
    if not re.fullmatch("[A-Za-z0-9+/]*", digits) or len(digits) % 4 == 1:
        raise InvalidKey(f"key {number} is not Base64")
    key = base64.b64decode(digits + "=" * (-len(digits) % 4))
    if len(key) < MIN_KEY_BYTES:
        raise InvalidKey(f"key {number} has {len(key)} bytes; at least {MIN_KEY_BYTES} are needed")
    if not any(key):
        raise InvalidKey(f"key {number} consists of zeros")
    return key


def read_keys(secret):
    """The bytes of all keys in `secret`. Raises InvalidKey for the first that the function would reject."""
    return [key_bytes(text, number) for number, text in enumerate(key_texts(secret), start=1)]


def signing_keys(environment):
    """The texts of the keys in WEBHOOK_SECRET. Raises InvalidKey, with a sentence, unless the function accepts all."""
    secret = environment.get("WEBHOOK_SECRET")
    expected = "expected the Base64 key from Pollo's webhook page, or several separated by commas or white space."
    if not secret:
        raise InvalidKey(f"WEBHOOK_SECRET is not set; {expected}")
    try:
        read_keys(secret)
    except InvalidKey as error:
        raise InvalidKey(f"WEBHOOK_SECRET: {error}; {expected}") from None
    return key_texts(secret)


@dataclass
class Webhook:
    body: bytes
    # The text of one key.
    key: str
    id: str = field(default_factory=lambda: f"msg_{time.time_ns()}")
    timestamp: str = field(default_factory=lambda: str(int(time.time())))
    content_type: str = "application/json"

    def headers(self):
        content = f"{self.id}.{self.timestamp}.".encode() + self.body
        signature = hmac.new(key_bytes(self.key), content, hashlib.sha256).digest()
        return {
            "Content-Type": self.content_type,
            "X-Webhook-Id": self.id,
            "X-Webhook-Timestamp": self.timestamp,
            "X-Webhook-Signature": base64.b64encode(signature).decode(),
        }
