"""Pollo's part: webhooks, signed as its page says."""

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass, field

# A key that signs as Pollo's does, and that no function has.
NOBODYS_KEY = "bm9ib2R5IGhhcyB0aGlzIGtleQ=="


def key_bytes(key):
    """The bytes of a key, read as leniently as the function does."""
    base64_text = key.strip().removeprefix("whsec_").replace("-", "+").replace("_", "/")
    return base64.b64decode(base64_text + "===")


@dataclass
class Webhook:
    body: bytes
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
