"""The parameters and their defaults, and the settings of the function."""

import re
import tomllib
from unittest.mock import ANY

import pytest

from tests.template.conftest import CHECKOUT, TOPIC_ARN, of_type, only_if, picked

KEY = "cG9sbG8td2ViaG9vay1wdWJsaXNoZWQtdGVzdC1rZXk="
# 16 bytes, the shortest that the function accepts, in the URL-safe alphabet and without padding.
SHORTEST = "-_-_-_-_-_-_-_-_-_-_-_"
ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("parameter", "accepted", "rejected"),
    [
        # Every form of a key that the function accepts, one or several. WebhookSecretName goes with an empty one.
        ("WebhookSecret", ["", KEY, KEY.rstrip("="), f"whsec_{KEY}", SHORTEST], ["abc", SHORTEST[1:], " ", f'"{KEY}"']),
        ("WebhookSecret", [f"{KEY},{KEY}", f" {KEY} ,\t{KEY} ", f"{KEY}\n{KEY}\r\n"], [f"{KEY},abc", f"{KEY};{KEY}"]),
        ("WebhookSecret", [], [f"whsec_{SHORTEST[1:]}", "not%Base64" * 3, f"{KEY},", f",{KEY}", f"{KEY},,{KEY}"]),
        (
            "SubscriberAccounts",
            ["", ACCOUNT, f"{ACCOUNT},{ACCOUNT}"],
            ["*", ACCOUNT[1:], f"{ACCOUNT},", f"{ACCOUNT}, 1"],
        ),
        ("ReservedConcurrency", ["10", "0", "none"], ["", "-1", "1.5", "None"]),
    ],
)
def test_the_template_rejects_invalid_values(template, parameter, accepted, rejected):
    pattern = template["Parameters"][parameter]["AllowedPattern"]
    assert [value for value in accepted + rejected if re.fullmatch(pattern, value)] == accepted


def test_a_deployment_needs_only_a_key(template):
    defaults = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
    assert {name: default for name, default in defaults.items() if default != ""} == {
        "TopicType": "standard",
        "ToleranceSeconds": 300,
        # Caps the bill of a flood.
        "ReservedConcurrency": "10",
        "Tracing": "PassThrough",
        "WrongSignaturesThreshold": 1,
        "UnreadableHeadersThreshold": 1,
        "SilenceHours": 0,
        # The log has the only copy of an outcome that was not published.
        "LogRetentionDays": 30,
    }


def test_the_settings_of_the_function(template):
    [function] = of_type(template, "AWS::Lambda::Function").values()
    variables = {"SNS_TOPIC_ARN": TOPIC_ARN, "WEBHOOK_TOLERANCE_SECONDS": {"Ref": "ToleranceSeconds"}}
    expected = {
        "Environment": {"Variables": {"WEBHOOK_SECRET": ANY, **variables}},
        "KmsKeyArn": only_if("HasEnvironmentKmsKey", {"Ref": "EnvironmentKmsKeyArn"}),
        "ReservedConcurrentExecutions": only_if("ReservesConcurrency", {"Ref": "ReservedConcurrency"}),
        "TracingConfig": {"Mode": {"Ref": "Tracing"}},
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "MemorySize": 256,
        # The function responds within 8 seconds, even if SNS does not. A slow start comes first.
        "Timeout": 15,
        # Lambda drops lines of the function below an ApplicationLogLevel. The default, INFO, keeps them.
        "LoggingConfig": {"LogFormat": "JSON", "SystemLogLevel": "WARN", "LogGroup": {"Ref": "LogGroup"}},
        "Architectures": ["x86_64"],
    }
    assert picked(function, expected) == expected
    # SAM names no architecture to cargo-lambda for x86_64. Without this setting, it is that of the host.
    cargo = tomllib.loads((CHECKOUT / "Cargo.toml").read_text())
    assert cargo["package"]["metadata"]["lambda"]["build"] == {"x86_64": True}


def test_the_settings_of_the_topic_and_of_the_log(template):
    assert template["Resources"]["Topic"]["Properties"] == {
        # CloudFormation does not generate the name that a FIFO topic needs.
        "TopicName": only_if("IsFifo", {"Fn::Sub": "${AWS::StackName}.fifo"}),
        "FifoTopic": only_if("IsFifo", True),
        "KmsMasterKeyId": {"Fn::If": ["HasTopicKmsKey", {"Ref": "TopicKmsKeyArn"}, "alias/aws/sns"]},
    }
    assert template["Resources"]["LogGroup"]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
