"""Compares docs/operations.md with the template."""

import re

import pytest
from cfnlint.helpers import REGIONS

from tests import operations
from tests.template.translation import findings, of_type, translated

pytestmark = pytest.mark.template


def test_the_page_describes_each_alarm(template):
    headings = re.findall(r"^### `(\w+)`", operations.PAGE, re.MULTILINE)
    assert sorted(headings) == sorted(of_type(template, "AWS::CloudWatch::Alarm"))


def test_the_page_lists_the_results_of_each_alarm(template):
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    del alarms["Silence"]
    names = {alarm["MetricName"]: name for name, alarm in alarms.items()}
    for filter in of_type(template, "AWS::Logs::MetricFilter").values():
        metric = filter["MetricTransformations"][0]["MetricName"]
        # Metrics without an alarm are explained before the first alarm.
        section = operations.section(f"`{names[metric]}`" if metric in names else "Alarms")
        for result in re.findall(r'"(\w+)"', filter["FilterPattern"]):
            assert f"`{result}`" in section


def test_the_page_lists_exactly_the_regions_without_function_urls(template):
    section = operations.section("Without a function URL")
    named = re.findall(r"`([a-z]{2}-[a-z-]+-\d)`", section)
    found = [re.search(r"\(.*\)", finding).group() for finding in findings(template, *REGIONS)]
    assert sorted(found) == sorted(f"(Resource type 'AWS::Lambda::Url' does not exist in '{name}')" for name in named)
    assert f"knows {len(named)} regions" in section


def test_the_template_with_an_http_api_is_valid_in_every_region(tmp_path):
    path = tmp_path / "template.yaml"
    path.write_text(operations.template_with_http_api())
    template = translated(path)
    assert findings(template, *REGIONS) == []
    assert of_type(template, "AWS::Lambda::Url") == {}
    [api] = of_type(template, "AWS::ApiGatewayV2::Api").values()
    integration = api["Body"]["paths"]["/"]["post"]["x-amazon-apigateway-integration"]
    assert (integration["type"], integration["payloadFormatVersion"]) == ("aws_proxy", "2.0")
    [permission] = of_type(template, "AWS::Lambda::Permission").values()
    assert permission["Principal"] == "apigateway.amazonaws.com"
