"""The permissions of the function, its URL, its key and its topics."""

import json

from tests.template.conftest import OVER_TLS, TOPIC_ARN, of_type, only_if, picked


def allow(action, resource):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def test_everyone_can_call_the_url_through_the_two_required_permissions(template):
    [url] = of_type(template, "AWS::Lambda::Url").values()
    assert url["AuthType"] == "NONE"
    permissions = of_type(template, "AWS::Lambda::Permission").values()
    assert {permission["Principal"] for permission in permissions} == {"*"}
    allowed = {permission["Action"]: permission.get("InvokedViaFunctionUrl") for permission in permissions}
    assert allowed == {"lambda:InvokeFunctionUrl": None, "lambda:InvokeFunction": True}


def test_the_role_of_the_function_has_only_the_required_permissions(template):
    [role] = of_type(template, "AWS::IAM::Role").values()
    assert set(role) == {"AssumeRolePolicyDocument", "Policies"}
    [policy] = role["Policies"]
    assert policy["PolicyDocument"]["Statement"] == [
        allow("sns:Publish", TOPIC_ARN),
        allow(["logs:CreateLogStream", "logs:PutLogEvents"], {"Fn::GetAtt": ["LogGroup", "Arn"]}),
        only_if("Traces", allow(["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*")),
        only_if("HasTopicKmsKey", allow(["kms:GenerateDataKey", "kms:Decrypt"], {"Ref": "TopicKmsKeyArn"})),
        only_if("HasEnvironmentKmsKey", allow("kms:Decrypt", {"Ref": "EnvironmentKmsKeyArn"})),
    ]


def test_only_the_function_can_publish_and_only_listed_accounts_can_subscribe(template):
    # AWS compares the ARN of a role, also for its sessions (IAM's page on global condition keys). Emulators compare the
    # ARN of the session. ArnNotLike denies if no pattern matches, and if the request has no principal.
    role = {"Fn::GetAtt": ["Role", "Arn"]}
    sessions = {"Fn::Sub": "arn:${AWS::Partition}:sts::${AWS::AccountId}:assumed-role/${Role}/*"}
    others = {"ArnNotLike": {"aws:PrincipalArn": [role, sessions]}}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": {"Ref": "Topic"}}
    accounts = {"AWS": {"Fn::Split": [",", {"Ref": "SubscriberAccounts"}]}}
    subscribe = {**allow("sns:Subscribe", {"Ref": "Topic"}), "Sid": "OtherAccountsMaySubscribe", "Principal": accounts}
    assert template["Resources"]["TopicPolicy"]["Properties"]["PolicyDocument"]["Statement"] == [
        {**deny, "Sid": "OnlyTheFunction", "Condition": others},
        {**deny, "Sid": "OnlyOverTls", "Condition": OVER_TLS},
        only_if("HasSubscriberAccounts", subscribe),
    ]


def test_only_the_environment_of_the_function_contains_the_key(template):
    assert template["Parameters"]["WebhookSecret"]["NoEcho"] is True
    environment = json.dumps(template["Resources"]["Function"]["Properties"]["Environment"])
    # The rules only check whether a key is set.
    everything = json.dumps({**template, "Rules": {}})
    for reference in ['{"Ref": "WebhookSecret"}', "{{resolve:"]:
        assert environment.count(reference) == everything.count(reference) == 1
    assert "${WebhookSecret}" not in everything


def test_only_alarms_of_this_account_can_publish_to_the_alarm_topic(template):
    # CloudWatch cannot use the key that AWS manages for SNS.
    assert "KmsMasterKeyId" not in template["Resources"]["AlarmTopic"].get("Properties", {})
    [statement] = template["Resources"]["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    expected = {**allow("sns:Publish", {"Ref": "AlarmTopic"}), "Principal": {"Service": "cloudwatch.amazonaws.com"}}
    assert picked(statement, expected) == expected
    alarms = {"Fn::Sub": "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:*"}
    account = {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert statement["Condition"] == {"StringEquals": account, "ArnLike": {"aws:SourceArn": alarms}}
