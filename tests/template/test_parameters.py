"""The parameters and the timeout of the template."""

import re

import pytest

pytestmark = pytest.mark.template

KEY = "cG9sbG8td2ViaG9vay1wdWJsaXNoZWQtdGVzdC1rZXk="


@pytest.mark.parametrize(
    ("parameter", "accepted", "rejected"),
    [
        (
            "WebhookSecret",
            # Every form that the function accepts.
            [
                "",
                KEY,
                f"whsec_{KEY}",
                "-_-_-_-_-_-_-_-_-_-_-_",
                f"{KEY},{KEY}",
                f" {KEY},\t{KEY} ",
                f"{KEY}\n{KEY}\r\n",
            ],
            ["not%Base64", f"{KEY};{KEY}", f'"{KEY}"'],
        ),
        (
            "SubscriberAccounts",
            ["", "123456789012", "123456789012,210987654321"],
            ["*", "12345678901", "123456789012,", "123456789012, 210987654321", "arn:aws:iam::123456789012:root"],
        ),
    ],
)
def test_the_template_rejects_invalid_values(template, parameter, accepted, rejected):
    pattern = template["Parameters"][parameter]["AllowedPattern"]
    assert [value for value in accepted + rejected if re.fullmatch(pattern, value)] == accepted


def test_each_parameter_has_a_group_and_a_description(template):
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])
    # 4,000 characters are an AWS limit.
    assert all(0 < len(parameter["Description"]) < 4000 for parameter in template["Parameters"].values())


def test_the_timeout_covers_the_slowest_response_and_a_cold_start(function):
    # The publisher itself gives up after 8 seconds.
    assert function["Timeout"] >= 8 + 2
