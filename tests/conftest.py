"""What several folders of tests use."""

import pytest

from local.emulators import ADDRESS


@pytest.fixture(scope="session")
def moto_url():
    """The URL of an emulator of AWS."""
    # Only some of the environments that run tests have moto.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ADDRESS, port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()
