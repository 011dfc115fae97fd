"""Translates the templates with SAM and checks them with cfn-lint."""

import functools
import json
import sys
from pathlib import Path

import cfnlint.api
import cfnlint.config
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

CHECKOUT = Path(__file__).parents[2]
MAIN = CHECKOUT / "template.yaml"
VIDEOS = CHECKOUT / "examples" / "subscribers" / "videos" / "template.yaml"
SUBSCRIBERS = [*sorted((CHECKOUT / "examples" / "subscribers").glob("*.yaml")), VIDEOS]
SAM = Path(sys.executable).parent / "sam"
REGION = "us-east-1"

TOPIC_ARN = {"Fn::If": ["CreatesTopic", {"Ref": "Topic"}, {"Ref": "ExistingTopicArn"}]}
ALARM_TOPIC = {"Fn::If": ["CreatesAlarmTopic", {"Ref": "AlarmTopic"}, {"Ref": "AlarmTopicArn"}]}
OVER_TLS = {"Bool": {"aws:SecureTransport": "false"}}


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
    return transform(template, {}, ManagedPolicies())


def name_of(path):
    return "videos" if path == VIDEOS else path.stem


def findings(template, *regions):
    config = cfnlint.config.ManualArgs(regions=[*regions] or [REGION])
    return [str(match) for match in cfnlint.api.lint(json.dumps(template, indent=1), config=config)]


def of_type(template, kind):
    """The properties of the resources of a type, by their names."""
    resources = template["Resources"].items()
    return {name: resource["Properties"] for name, resource in resources if resource["Type"] == kind}


def statements(template, policy):
    return template["Resources"][policy]["Properties"]["PolicyDocument"]["Statement"]


def imported(name):
    return {"Fn::ImportValue": {"Fn::Sub": f"${{WebhookStack}}-{name}"}}


def as_list(value):
    return value if isinstance(value, list) else [value]
