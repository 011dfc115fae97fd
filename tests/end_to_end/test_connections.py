"""The connection to SNS: kept, replaced when it is dead, and trusted by Amazon's roots alone."""

import re
import signal
import socket
import ssl
import struct
import sys
from pathlib import Path

import pytest

from local.emulators import CHECKOUT, KEY, PATIENCE
from operate.pollo import Webhook
from tests.certificate import self_signed_certificate
from tests.end_to_end.exchange import SUCCESS, exchange
from tests.end_to_end.servers import accepting, presenting


def test_one_connection_to_sns_serves_all_webhooks(start):
    with accepting() as (address, connections):
        function = start(AWS_ENDPOINT_URL_SNS=f"http://{address}")
        for _ in range(3):
            assert exchange(function, Webhook(SUCCESS, KEY))[0] == 200
    assert len(connections) == 1


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_connection_that_died_while_the_function_was_frozen_costs_no_webhook(start, how):
    """Lambda freezes a function between events, and thaws it minutes later."""
    with accepting() as (address, connections):
        function = start(AWS_ENDPOINT_URL_SNS=f"http://{address}")
        assert exchange(function, Webhook(SUCCESS, KEY))[0] == 200
        function.process.send_signal(signal.SIGSTOP)
        dead = connections[0].connection
        if how == "reset":
            dead.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Ends the thread that reads it, which closes it.
        dead.shutdown(socket.SHUT_RD)
        assert connections[0].closed.wait(PATIENCE)
        function.process.send_signal(signal.SIGCONT)
        assert exchange(function, Webhook(SUCCESS, KEY))[0] == 200
        assert len(connections) == 2


@pytest.mark.parametrize(("owner", "detail"), [("amazon", "not valid for name"), ("lets-encrypt", "UnknownIssuer")])
@pytest.mark.skipif(sys.platform != "linux", reason="libfaketime is looked for where Linux has it")
def test_chains_of_amazon_are_accepted_and_others_that_the_system_trusts_are_not(start, owner, detail):
    """The chains that aws.amazon.com and letsencrypt.org had in August 2026, from a server without their keys. TLS
    verifies the chain first and then the name, so the name is what fails where the chain is accepted."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert libraries, "libfaketime is missing: apt-get install faketime"
    then = {"LD_PRELOAD": str(libraries[0]), "FAKETIME": "@2026-08-12 12:00:00", "DONT_FAKE_MONOTONIC": "1"}
    pem = (CHECKOUT / f"tests/vectors/chains/{owner}.pem").read_text()
    chain = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.DOTALL)
    with presenting([ssl.PEM_cert_to_DER_cert(certificate) for certificate in chain]) as address:
        function = start(AWS_ENDPOINT_URL_SNS=f"https://{address}", WEBHOOK_TOLERANCE_SECONDS="0", **then)
        status, _, line = exchange(function, Webhook(SUCCESS, KEY))
    assert (status, line["code"]) == (503, "DispatchFailure")
    assert detail in line["detail"]


def test_roots_that_the_environment_names_take_the_place_of_amazons(start, tmp_path):
    trusted, key = self_signed_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, key)
    with accepting(context) as (address, _):
        function = start(AWS_ENDPOINT_URL_SNS=f"https://{address}")
        status, _, line = exchange(function, Webhook(SUCCESS, KEY))
        assert (status, line["code"]) == (503, "DispatchFailure")
        assert "certificate" in line["detail"]
        for variable, named in [("SSL_CERT_FILE", trusted), ("SSL_CERT_DIR", tmp_path)]:
            function = start(AWS_ENDPOINT_URL_SNS=f"https://{address}", **{variable: str(named)})
            assert exchange(function, Webhook(SUCCESS, KEY))[0] == 200, variable
