"""Who may call the function, read its key, and publish and subscribe to its topic; and what the function may do."""

import pytest

from tests.template.translation import OVER_TLS, TOPIC_ARN, of_type, statements

pytestmark = pytest.mark.template


def allow(action, resource):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def only_if(condition, value):
    return {"Fn::If": [condition, value, {"Ref": "AWS::NoValue"}]}


def paths_to(value, sought, path=()):
    """Where `sought`, or a text that contains it, is within `value`."""
    if value == sought or (isinstance(value, str) and isinstance(sought, str) and sought in value):
        return [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [found for key, item in items for found in paths_to(item, sought, (*path, key))]


def test_everyone_may_call_the_url_for_which_aws_wants_two_permissions(template):
    [url] = of_type(template, "AWS::Lambda::Url").values()
    assert url == {"TargetFunctionArn": {"Ref": "Function"}, "AuthType": "NONE"}
    permissions = of_type(template, "AWS::Lambda::Permission").values()
    function = {"FunctionName": {"Ref": "Function"}, "Principal": "*"}
    assert sorted(permissions, key=lambda permission: permission["Action"]) == [
        {**function, "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
        {**function, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    ]


def test_the_function_may_publish_write_its_log_and_traces_use_the_keys_of_the_user_and_do_nothing_else(
    template, function
):
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


def test_nobody_but_the_function_may_publish_and_only_over_tls(template):
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": {"Ref": "Topic"}}
    others = {"ArnNotEquals": {"aws:PrincipalArn": {"Fn::GetAtt": ["Role", "Arn"]}}}
    assert statements(template, "TopicPolicy")[:2] == [
        {**deny, "Sid": "OnlyTheFunction", "Condition": others},
        {**deny, "Sid": "OnlyOverTls", "Condition": OVER_TLS},
    ]


def test_the_accounts_that_are_named_may_subscribe_and_no_other(template):
    subscribe = {
        **allow("sns:Subscribe", {"Ref": "Topic"}),
        "Sid": "OtherAccountsMaySubscribe",
        "Principal": {"AWS": {"Fn::Split": [",", {"Ref": "SubscriberAccounts"}]}},
    }
    assert statements(template, "TopicPolicy")[2:] == [only_if("HasSubscriberAccounts", subscribe)]


def test_nobody_but_the_function_sees_the_key(template):
    assert template["Parameters"]["WebhookSecret"]["NoEcho"] is True
    variable = ("Resources", "Function", "Properties", "Environment", "Variables", "WEBHOOK_SECRET")
    # A rule only checks whether there is a key.
    for sought in [{"Ref": "WebhookSecret"}, "{{resolve:"]:
        places = [path for path in paths_to(template, sought) if path[0] != "Rules"]
        assert [path[: len(variable)] for path in places] == [variable]
    assert paths_to(template, "${WebhookSecret}") == []


def test_a_key_of_the_user_encrypts_the_environment_and_the_topic(template, function):
    assert function["KmsKeyArn"] == only_if("HasEnvironmentKmsKey", {"Ref": "EnvironmentKmsKeyArn"})
    key = template["Resources"]["Topic"]["Properties"]["KmsMasterKeyId"]
    assert key == {"Fn::If": ["HasTopicKmsKey", {"Ref": "TopicKmsKeyArn"}, "alias/aws/sns"]}


def test_the_alarms_of_this_account_and_nobody_else_may_publish_to_their_topic(template):
    # CloudWatch cannot use the key that AWS manages for SNS.
    assert "KmsMasterKeyId" not in template["Resources"]["AlarmTopic"].get("Properties", {})
    allowed, denied = statements(template, "AlarmTopicPolicy")
    assert (allowed["Effect"], allowed["Action"]) == ("Allow", "sns:Publish")
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert allowed["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"].endswith(":${AWS::AccountId}:alarm:*")
    assert (denied["Effect"], denied["Condition"]) == ("Deny", OVER_TLS)
