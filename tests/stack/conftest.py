"""An account of AWS to deploy to: an emulator (ministack), or with ON=aws the account in the environment."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
import zipfile
from datetime import UTC, datetime

import boto3
import pytest
import trustme

from tests.stack.journey import AWS, CHECKOUT, Journey

ADDRESS, REGION = "127.0.0.1", "us-east-1"
MINISTACK = CHECKOUT / ".tools" / "aws" / "bin" / "ministack"

# Python runs this module when it starts. On the emulator's network, this machine is the internet: otherwise the function
# that stores videos rejects the address of the emulator's S3.
SITE = "import ipaddress\nipaddress.IPv4Address.is_global = True\n"

PRICE = """
Deploys pollo-webhook and its subscribers as {name} to the account {account} in {region}, tests and deletes them, which
takes about an hour. For that time, there are about twenty alarms, a secret and a KMS key, and about a hundred webhooks.
By the price pages of AWS, that costs less than a dollar. Type yes to begin: """


@pytest.fixture(scope="session")
def isolated(tmp_path_factory):
    """The environment of AWS's clients. Replaces the fixture of tests/conftest.py, which takes AWS's variables away."""
    if AWS:
        yield
        return
    folder = tmp_path_factory.mktemp("emulator")
    authority, certificate = folder / "authority.pem", folder / "certificate.pem"
    ca = trustme.CA()
    ca.cert_pem.write_to_path(authority)
    ca.issue_cert(ADDRESS).private_key_and_cert_chain_pem.write_to_path(certificate)
    (folder / "sitecustomize.py").write_text(SITE)
    with socket.create_server((ADDRESS, 0)) as server:
        port = server.getsockname()[1]
    clients = {"AWS_ENDPOINT_URL": f"https://{ADDRESS}:{port}", "AWS_CA_BUNDLE": str(authority)}
    # Functions inherit this environment, and find their own credentials in it.
    emulator = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "PYTHONPATH": str(folder)}
    emulator |= {"BIND_HOST": ADDRESS, "GATEWAY_PORT": str(port), "MINISTACK_REGION": REGION, "AUTH": "true"}
    emulator |= {"USE_SSL": "1", "MINISTACK_SSL_CERT": str(certificate), "MINISTACK_SSL_KEY": str(certificate)}
    emulator |= {"SSL_CERT_FILE": str(authority), **clients}
    clients |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
    clients |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "NO_PROXY": ADDRESS}
    with contextlib.ExitStack() as cleanup:
        log = cleanup.enter_context((folder / "log").open("w"))
        started = {"env": emulator, "stdout": log, "stderr": log, "start_new_session": True}
        process = cleanup.enter_context(subprocess.Popen([MINISTACK], **started))
        # With the functions that it runs.
        cleanup.callback(os.killpg, process.pid, signal.SIGKILL)
        patch = cleanup.enter_context(pytest.MonkeyPatch.context())
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in clients.items():
            patch.setenv(name, value)
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex((ADDRESS, port)) != 0:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield


@pytest.fixture(scope="session")
def journey(isolated, tmp_path_factory, request):
    """The stacks of this run. Whatever fails, they are deleted at the end."""
    folder = tmp_path_factory.mktemp("package")
    [path] = (CHECKOUT / "target" / "package").glob(f"*-{os.environ.get('ARCH', 'x86_64')}.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    [unpacked] = folder.iterdir()
    journey = Journey(f"pollo-test-{secrets.token_hex(4)}", unpacked)
    if AWS and not os.environ.get("YES"):
        account = boto3.client("sts").get_caller_identity()["Account"]
        region = boto3.Session().region_name
        capture = request.config.pluginmanager.getplugin("capturemanager")
        capture.suspend_global_capture(in_=True)
        if input(PRICE.format(name=journey.name, account=account, region=region)) != "yes":
            pytest.exit("Nothing was deployed.")
        capture.resume_global_capture()
    try:
        yield journey
    finally:
        if AWS:
            write_times(journey)
        journey.undo.close()


def write_times(journey):
    """Writes what no emulator can measure."""
    region, today = boto3.Session().region_name, datetime.now(UTC).date()
    lines = [f"# `make stack ON=aws` in {region} on {today}", "", "| | seconds |", "|---|---|"]
    lines += [f"| {step} | {seconds:.3f} |" for step, seconds in journey.times]
    (CHECKOUT / "target" / "stack-aws.md").write_text("\n".join([*lines, ""]))


@pytest.fixture(autouse=True)
def timed(journey, request):
    began = time.monotonic()
    yield
    journey.times.append((request.node.name.removeprefix("test_").replace("_", " "), time.monotonic() - began))
