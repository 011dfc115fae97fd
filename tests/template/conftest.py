"""The templates as SAM translates them, and values out of them."""

import functools
import json
from pathlib import Path

import cfnlint.api
import cfnlint.config
import pytest
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

CHECKOUT = Path(__file__).parents[2]
MAIN = CHECKOUT / "template.yaml"
SUBSCRIBERS = [
    CHECKOUT / "examples" / "subscribers" / name for name in ["mail.yaml", "queue.yaml", "videos/template.yaml"]
]
REGION = "us-east-1"

OVER_TLS = {"Bool": {"aws:SecureTransport": "false"}}
TOPIC_ARN = {"Fn::If": ["CreatesTopic", {"Ref": "Topic"}, {"Ref": "ExistingTopicArn"}]}


class ManagedPolicies:
    """SAM loads these from IAM. With an empty list, it uses its built-in names."""

    def load(self):
        return {}


@functools.cache
def translated(path):
    """The template that CloudFormation gets from SAM."""
    template = yaml_parse(path.read_text())
    for resource in template["Resources"].values():
        if "CodeUri" in resource.get("Properties", {}):
            resource["Properties"]["CodeUri"] = "s3://bucket/archive"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        return transform(template, {}, ManagedPolicies())


def findings(template):
    """What AWS's linter finds."""
    config = cfnlint.config.ManualArgs(regions=[REGION])
    return [str(match) for match in cfnlint.api.lint(json.dumps(template, indent=1), config=config)]


def of_type(template, kind):
    """The properties of the resources of a type, by their names."""
    resources = template["Resources"].items()
    return {name: resource["Properties"] for name, resource in resources if resource["Type"] == kind}


def only_if(condition, value):
    return {"Fn::If": [condition, value, {"Ref": "AWS::NoValue"}]}


def picked(properties, expected):
    """The properties that `expected` names, to be compared with it."""
    return {name: properties.get(name) for name in expected}


@pytest.fixture
def template():
    return translated(MAIN)


@pytest.fixture(params=SUBSCRIBERS, ids=lambda path: path.stem)
def subscriber(request):
    return translated(request.param)
