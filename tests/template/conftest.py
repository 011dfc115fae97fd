"""The templates after their translation by SAM."""

import pytest

from tests.template.translation import MAIN, SUBSCRIBERS, translated


@pytest.fixture
def template():
    return translated(MAIN)


@pytest.fixture(params=SUBSCRIBERS, ids=lambda path: path.stem)
def subscriber(request):
    return translated(request.param)
