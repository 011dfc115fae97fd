"""The permissions of the function, its URL, its key and its topics."""

import pytest

from tests.template.translation import OVER_TLS, TOPIC_ARN, of_type, statements

pytestmark = pytest.mark.template


def allow(action, resource):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def only_if(condition, value):
    return {"Fn::If": [condition, value, {"Ref": "AWS::NoValue"}]}


def paths_to(value, sought, path=()):
    """The paths to `sought`, or to texts that contain it, in `value`."""
    if value == sought or (isinstance(value, str) and isinstance(sought, str) and sought in value):
        return [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [found for key, item in items for found in paths_to(item, sought, (*path, key))]


def test_everyone_can_call_the_url_through_the_two_required_permissions(template):
    [url] = of_type(template, "AWS::Lambda::Url").values()
    assert url == {"TargetFunctionArn": {"Ref": "Function"}, "AuthType": "NONE"}
    permissions = of_type(template, "AWS::Lambda::Permission").values()
    function = {"FunctionName": {"Ref": "Function"}, "Principal": "*"}
    assert sorted(permissions, key=lambda permission: permission["Action"]) == [
        {**function, "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
        {**function, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    ]


def test_the_role_of_the_function_has_only_the_required_permissions(template, function):
    [role] = of_type(template, "AWS::IAM::Role").values()
    assert set(role) == {"AssumeRolePolicyDocument", "Policies"}
    assert function["Role"] == {"Fn::GetAtt": ["Role", "Arn"]}
    [policy] = role["Policies"]
    assert policy["PolicyDocument"]["Statement"] == [
        allow("sns:Publish", TOPIC_ARN),
        allow(["logs:CreateLogStream", "logs:PutLogEvents"], {"Fn::GetAtt": ["LogGroup", "Arn"]}),
        only_if("Traces", allow(["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*")),
        only_if("HasTopicKmsKey", allow(["kms:GenerateDataKey", "kms:Decrypt"], {"Ref": "TopicKmsKeyArn"})),
        only_if("HasEnvironmentKmsKey", allow("kms:Decrypt", {"Ref": "EnvironmentKmsKeyArn"})),
    ]


def test_only_the_function_can_publish_and_only_over_tls(template):
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": {"Ref": "Topic"}}
    others = {"ArnNotEquals": {"aws:PrincipalArn": {"Fn::GetAtt": ["Role", "Arn"]}}}
    assert statements(template, "TopicPolicy")[:2] == [
        {**deny, "Sid": "OnlyTheFunction", "Condition": others},
        {**deny, "Sid": "OnlyOverTls", "Condition": OVER_TLS},
    ]


def test_only_listed_accounts_can_subscribe(template):
    subscribe = {
        **allow("sns:Subscribe", {"Ref": "Topic"}),
        "Sid": "OtherAccountsMaySubscribe",
        "Principal": {"AWS": {"Fn::Split": [",", {"Ref": "SubscriberAccounts"}]}},
    }
    assert statements(template, "TopicPolicy")[2:] == [only_if("HasSubscriberAccounts", subscribe)]


def test_only_the_environment_of_the_function_contains_the_key(template):
    assert template["Parameters"]["WebhookSecret"]["NoEcho"] is True
    variable = ("Resources", "Function", "Properties", "Environment", "Variables", "WEBHOOK_SECRET")
    # The rules only check whether a key is set.
    for sought in [{"Ref": "WebhookSecret"}, "{{resolve:"]:
        places = [path for path in paths_to(template, sought) if path[0] != "Rules"]
        assert [path[: len(variable)] for path in places] == [variable]
    assert paths_to(template, "${WebhookSecret}") == []


def test_the_users_kms_keys_encrypt_the_environment_and_the_topic(template, function):
    assert function["KmsKeyArn"] == only_if("HasEnvironmentKmsKey", {"Ref": "EnvironmentKmsKeyArn"})
    key = template["Resources"]["Topic"]["Properties"]["KmsMasterKeyId"]
    assert key == {"Fn::If": ["HasTopicKmsKey", {"Ref": "TopicKmsKeyArn"}, "alias/aws/sns"]}


def test_only_alarms_of_this_account_can_publish_to_the_alarm_topic(template):
    # CloudWatch cannot use the key that AWS manages for SNS.
    assert "KmsMasterKeyId" not in template["Resources"]["AlarmTopic"].get("Properties", {})
    allowed, denied = statements(template, "AlarmTopicPolicy")
    assert (allowed["Effect"], allowed["Action"]) == ("Allow", "sns:Publish")
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert allowed["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"].endswith(":${AWS::AccountId}:alarm:*")
    assert (denied["Effect"], denied["Condition"]) == ("Deny", OVER_TLS)
