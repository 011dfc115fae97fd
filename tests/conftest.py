"""What several folders of tests use."""

import os

import pytest

from local.emulators import ADDRESS, isolate


@pytest.fixture(scope="session", autouse=True)
def isolated():
    """Keeps this machine's AWS settings and proxies away from the tests."""
    isolate(os.environ)


@pytest.fixture(scope="session")
def moto_url(isolated):
    """The URL of an emulator of AWS."""
    # Only some of the environments that run tests have moto.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ADDRESS, port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()
