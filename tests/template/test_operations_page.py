"""docs/operations.md says what is in the template."""

import re

import pytest
from cfnlint.helpers import REGIONS

from tests import operations
from tests.template.translation import findings, of_type, translated

pytestmark = pytest.mark.template


def test_each_alarm_is_in_it(template):
    headings = re.findall(r"^### `(\w+)`", operations.PAGE, re.MULTILINE)
    assert sorted(headings) == sorted(of_type(template, "AWS::CloudWatch::Alarm"))


def test_what_a_metric_counts_is_under_the_alarm_that_watches_it(template):
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    del alarms["Silence"]
    names = {alarm["MetricName"]: name for name, alarm in alarms.items()}
    for filter in of_type(template, "AWS::Logs::MetricFilter").values():
        metric = filter["MetricTransformations"][0]["MetricName"]
        # What needs no alarm is explained before the first one.
        section = operations.section(f"`{names[metric]}`" if metric in names else "Alarms")
        for result in re.findall(r'"(\w+)"', filter["FilterPattern"]):
            assert f"`{result}`" in section


def test_it_names_the_regions_that_have_no_function_urls_and_no_others(template):
    section = operations.section("Without a function URL")
    named = re.findall(r"`([a-z]{2}-[a-z-]+-\d)`", section)
    found = [re.search(r"\(.*\)", finding).group() for finding in findings(template, *REGIONS)]
    assert sorted(found) == sorted(f"(Resource type 'AWS::Lambda::Url' does not exist in '{name}')" for name in named)
    assert f"knows {len(named)} regions" in section


def test_with_its_http_api_the_template_can_be_deployed_everywhere(tmp_path):
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
