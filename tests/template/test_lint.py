"""Checks the templates with AWS's linter, also with an HTTP API in place of the function URL."""

import subprocess

import pytest

from tests.template.conftest import CHECKOUT, MAIN, SUBSCRIBERS, findings, of_type, picked, translated


@pytest.mark.parametrize("path", [MAIN, *SUBSCRIBERS])
def test_sam_translates_each_template_and_the_linter_accepts_it(path):
    assert findings(translated(path)) == []


def test_the_patch_replaces_the_function_url_by_an_http_api_with_a_throttle(tmp_path):
    path = tmp_path / "template.yaml"
    path.write_text(MAIN.read_text())
    subprocess.run(["patch", "-p1", "-i", CHECKOUT / "examples" / "http-api.patch"], cwd=tmp_path, check=True)
    template = translated(path)
    assert findings(template) == []
    assert of_type(template, "AWS::Lambda::Url") == {}
    [api] = of_type(template, "AWS::ApiGatewayV2::Api").values()
    expected = {"type": "aws_proxy", "payloadFormatVersion": "2.0"}
    assert picked(api["Body"]["paths"]["/"]["post"]["x-amazon-apigateway-integration"], expected) == expected
    [stage] = of_type(template, "AWS::ApiGatewayV2::Stage").values()
    # As many requests a second as the default of ReservedConcurrency allows.
    assert stage["DefaultRouteSettings"] == {"ThrottlingBurstLimit": 100, "ThrottlingRateLimit": 100}
