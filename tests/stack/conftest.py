"""Deploys, calls, updates and deletes the package on an AWS emulator, as a user does."""

import contextlib
import os
import socket

import pytest

from local import emulators
from local.emulators import ADDRESS
from tests.certificate import self_signed_certificate
from tests.stack.deployment import Release, Stack, sam_deploy_stack, unpacked
from tests.stack.emulated_aws import ACCOUNT, MINISTACK, REGION, SAM, Aws, run


@pytest.fixture(scope="session")
def aws(tmp_path_factory, package):
    """An emulator for each worker of xdist, and clients that have no compiler."""
    folder = tmp_path_factory.mktemp("aws")
    certificate, key = self_signed_certificate(folder)
    port = emulators.free_port()
    url = f"https://{ADDRESS}:{port}"
    # The function inherits this environment, but has its own settings, credentials and endpoint.
    of_the_emulator = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(folder),
        "BIND_HOST": ADDRESS,
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "AUTH": "true",
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(certificate),
        "MINISTACK_SSL_KEY": str(key),
        "AWS_ENDPOINT_URL": url,
        "SSL_CERT_FILE": str(certificate),
        # For functions in Python.
        "AWS_CA_BUNDLE": str(certificate),
    }
    of_its_clients = {
        "AWS_ENDPOINT_URL": url,
        "AWS_CA_BUNDLE": str(certificate),
        # To the emulator, these are the credentials of the account's root.
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "SAM_CLI_TELEMETRY": "0",
        # No compiler is on this path.
        "PATH": str(folder),
    }
    with contextlib.ExitStack() as running:
        # Each emulator also listens on port 443 if it can. Two that start at the same time both try, and one of them ends.
        with contextlib.suppress(OSError):
            running.enter_context(socket.create_server((ADDRESS, 443)))
        running.enter_context(emulators.emulator("AWS", port, [MINISTACK], env=of_the_emulator))
        patch = running.enter_context(pytest.MonkeyPatch.context())
        for name, value in of_its_clients.items():
            patch.setenv(name, value)
        yield Aws(port, certificate, key, package)


@pytest.fixture(autouse=True)
def account(aws):
    """Checks that a test leaves nothing in the account."""
    before = aws.inventory()
    yield
    assert aws.inventory() == before


@pytest.fixture
def cleanup(account):
    """Registers calls that run in reverse order after the stacks of the test are deleted."""
    with contextlib.ExitStack() as calls:
        yield calls.callback


@pytest.fixture
def deploy(aws, cleanup, package):
    """Deploys or updates a stack and returns it. Deletes all stacks at the end."""

    def deploy(name="pollo-webhook", template=None, **parameters):
        run(*sam_deploy_stack(name, template, **parameters), cwd=package)
        return Stack(aws, name)

    yield deploy
    for name in aws.stacks():
        run(SAM, "delete", "--stack-name", name, "--no-prompts", "--region", REGION)


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The unpacked package. Tests must not write into it."""
    return unpacked(tmp_path_factory.mktemp("package"))


@pytest.fixture
def release(aws, deploy, tmp_path):
    return Release(aws, tmp_path)
