"""The templates after their translation by SAM."""

import pytest

from tests.template.translation import MAIN, REGION, SUBSCRIBERS, name_of, translated


@pytest.fixture(scope="session", autouse=True)
def settings_of_sam():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("SAM_CLI_TELEMETRY", "0")
        yield


@pytest.fixture
def template(settings_of_sam):
    return translated(MAIN)


@pytest.fixture
def function(template):
    return template["Resources"]["Function"]["Properties"]


@pytest.fixture(params=SUBSCRIBERS, ids=name_of)
def subscriber(settings_of_sam, request):
    return translated(request.param)
