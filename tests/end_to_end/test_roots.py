"""The connection to SNS is trusted only with Amazon's roots."""

import contextlib
import importlib.util
import re
import socketserver
import ssl
import sys
import threading
from pathlib import Path

import pytest

from local.emulators import ADDRESS, CHECKOUT, KEY
from operate.pollo import Webhook
from tests.end_to_end.conftest import SUCCESS, exchange


@contextlib.contextmanager
def presenting(chain):
    """Serves these certificates with an invalid signature. A TLS 1.2 client verifies the certificates first.
    Returns the URL."""

    def vector(length, *parts):
        content = b"".join(parts)
        return len(content).to_bytes(length) + content

    def message(kind, *parts):
        return bytes([kind]) + vector(3, *parts)

    random, tls_1_2 = bytes(32), b"\3\3"
    ecdhe_rsa_aes_128_gcm, x25519, rsa_pss_sha256 = b"\xc0\x2f", b"\0\x1d", b"\x08\x04"
    flight = [
        message(2, tls_1_2, random, vector(1), ecdhe_rsa_aes_128_gcm, b"\0"),
        message(11, vector(3, *(vector(3, certificate) for certificate in chain))),
        message(12, b"\3", x25519, vector(1, bytes([9] * 32)), rsa_pss_sha256, vector(2, bytes(256))),
        message(14),
    ]

    class Hello(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(65_536)
            for part in flight:
                self.request.sendall(b"\x16" + tls_1_2 + vector(2, part))
            self.request.recv(65_536)

    with socketserver.ThreadingTCPServer((ADDRESS, 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://{ADDRESS}:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(("owner", "detail"), [("amazon", "not valid for name"), ("lets-encrypt", "UnknownIssuer")])
@pytest.mark.skipif(sys.platform != "linux", reason="the library of the wheel is one for Linux")
def test_sns_is_trusted_only_with_a_certificate_of_amazons_roots(start, owner, detail):
    """Uses the chains of aws.amazon.com and letsencrypt.org from August 2026, without their keys. TLS verifies the chain
    before the name, so a trusted chain fails on the name."""
    wheel = Path(importlib.util.find_spec("libfaketime").origin).parent
    clock = {"LD_PRELOAD": f"{wheel}/vendor/libfaketime/src/libfaketime.so.1", "FAKETIME": "@2026-08-12 12:00:00"}
    pem = (CHECKOUT / f"tests/vectors/chains/{owner}.pem").read_text()
    chain = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.DOTALL)
    with presenting([ssl.PEM_cert_to_DER_cert(certificate) for certificate in chain]) as url:
        function = start(AWS_ENDPOINT_URL_SNS=url, WEBHOOK_TOLERANCE_SECONDS="0", DONT_FAKE_MONOTONIC="1", **clock)
        status, line = exchange(function, Webhook(SUCCESS, KEY))
    assert (status, line["code"]) == (503, "DispatchFailure")
    assert detail in line["detail"]
