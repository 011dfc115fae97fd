"""The examples of subscribers, and the rules of SNS, SQS and Lambda for their queues."""

import json
import re

import pytest

from tests.template.conftest import OVER_TLS, SUBSCRIBERS, of_type, only_if, picked, translated

MAIL, QUEUE, VIDEOS = SUBSCRIBERS
# For 14 days, the maximum. SNS cannot use the key that AWS manages for SQS.
KEEPS_MESSAGES = {"SqsManagedSseEnabled": True, "MessageRetentionPeriod": 14 * 24 * 3600}


def imported(name):
    return {"Fn::ImportValue": {"Fn::Sub": f"${{WebhookStack}}-{name}"}}


@pytest.fixture
def queues(subscriber):
    return of_type(subscriber, "AWS::SQS::Queue")


@pytest.fixture
def topic(subscriber):
    """The topic of the stack or, if the example supports it, a topic of another account."""
    if "TopicArn" in subscriber["Parameters"]:
        return {"Fn::If": ["HasTopicArn", {"Ref": "TopicArn"}, imported("TopicArn")]}
    return imported("TopicArn")


def test_only_the_topic_can_send_messages_to_the_queues(subscriber, queues, topic):
    [policy] = of_type(subscriber, "AWS::SQS::QueuePolicy").values()
    assert policy["Queues"] == [{"Ref": name} for name in queues]
    arns = [{"Fn::GetAtt": [name, "Arn"]} for name in queues]
    resource = arns if len(arns) > 1 else arns[0]
    sns, source = {"Service": "sns.amazonaws.com"}, {"ArnEquals": {"aws:SourceArn": topic}}
    allow = {"Effect": "Allow", "Principal": sns, "Action": "sqs:SendMessage", "Condition": source}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Condition": OVER_TLS}
    assert policy["PolicyDocument"]["Statement"] == [
        {**allow, "Sid": "FromTheTopic", "Resource": resource},
        {**deny, "Sid": "OnlyOverTls", "Resource": resource},
    ]


def test_the_subscription_filters_and_keeps_what_it_cannot_deliver(subscriber, queues, topic):
    [subscription] = [item for item in subscriber["Resources"].values() if item["Type"] == "AWS::SNS::Subscription"]
    # SNS discards what it may not deliver.
    assert subscription["DependsOn"] == "QueuePolicy"
    expected = {"TopicArn": topic, "RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}}
    if "Queue" in queues:
        expected |= {"Protocol": "sqs", "RawMessageDelivery": True, "FilterPolicy": {"status": ["succeed"]}}
    else:
        expected |= {"Protocol": "email", "FilterPolicy": {"status": ["failed"]}}
    assert picked(subscription["Properties"], expected) == expected


@pytest.mark.parametrize(("path", "seconds", "receives"), [(QUEUE, 60, 5), (VIDEOS, 3600, 8)])
def test_queue_and_dead_letter_queue_have_the_type_of_the_topic(path, seconds, receives):
    # SNS on dead-letter queues: "FIFO topic subscriptions use FIFO queues, and standard topic subscriptions use standard
    # queues" (sns-dead-letter-queues). SQS requires the same type of a queue and its own (sqs-dead-letter-queues).
    template = translated(path)
    assert template["Conditions"]["IsFifo"] == {"Fn::Equals": [{"Ref": "TopicType"}, "fifo"]}
    both = {**KEEPS_MESSAGES, "FifoQueue": only_if("IsFifo", True)}
    redrive = {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}, "maxReceiveCount": receives}
    queue = {**both, "VisibilityTimeout": seconds, "RedrivePolicy": redrive}
    assert of_type(template, "AWS::SQS::Queue") == {"Queue": queue, "DeadLetterQueue": both}
    # A change of the type replaces the queues. The old ones still have outcomes.
    assert {template["Resources"][name]["UpdateReplacePolicy"] for name in ["Queue", "DeadLetterQueue"]} == {"Retain"}


def test_the_dead_letter_queue_of_mail_is_standard_because_a_fifo_topic_cannot_mail():
    assert of_type(translated(MAIL), "AWS::SQS::Queue") == {"DeadLetterQueue": KEEPS_MESSAGES}


def test_each_queue_has_an_alarm_with_the_alarm_topic_of_the_stack_as_default(subscriber, queues):
    topic = imported("AlarmTopicArn")
    if "TopicArn" in subscriber["Parameters"]:
        # CloudFormation cannot import from another account.
        topic = {"Fn::If": ["HasTopicArn", {"Ref": "AWS::NoValue"}, topic]}
    common = {"Namespace": "AWS/SQS", "Statistic": "Maximum", "Period": 300, "EvaluationPeriods": 1}
    common |= {"ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "notBreaching"}
    common["AlarmActions"] = [{"Fn::If": ["HasAlarmTopicArn", {"Ref": "AlarmTopicArn"}, topic]}]
    alarms = of_type(subscriber, "AWS::CloudWatch::Alarm")
    for alarm, queue, metric, threshold in [
        # Any message in a dead-letter queue is a failure. In another queue, only one that is an hour old is.
        ("PutAside", "DeadLetterQueue", "ApproximateNumberOfMessagesVisible", 1),
        ("Unprocessed", "Queue", "ApproximateAgeOfOldestMessage", 3600),
    ][: len(queues)]:
        dimensions = [{"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}]
        expected = {**common, "MetricName": metric, "Threshold": threshold, "Dimensions": dimensions}
        assert picked(alarms[alarm], expected) == expected


@pytest.fixture
def videos():
    return translated(VIDEOS)


def test_the_videos_function_gets_one_message_at_a_time(videos):
    [function] = of_type(videos, "AWS::Lambda::Function").values()
    # AWS recommends a visibility time-out of the queue of at least six times this.
    assert (function["Timeout"], function["MemorySize"]) == (600, 512)
    [mapping] = of_type(videos, "AWS::Lambda::EventSourceMapping").values()
    # Lambda gives FIFO queues no batching window.
    expected = {"BatchSize": 1, "MaximumBatchingWindowInSeconds": None, "ScalingConfig": {"MaximumConcurrency": 5}}
    expected["FunctionResponseTypes"] = ["ReportBatchItemFailures"]
    assert picked(mapping, expected) == expected


def test_the_videos_function_can_neither_read_nor_delete_objects(videos):
    [role] = of_type(videos, "AWS::IAM::Role").values()
    assert set(role) == {"AssumeRolePolicyDocument", "Policies"}
    statements = [item.get("Fn::If", [None, item])[1] for item in role["Policies"][0]["PolicyDocument"]["Statement"]]
    assert "*" not in [statement["Resource"] for statement in statements]
    assert re.findall(r"s3:\w+", json.dumps(statements)) == ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListBucket"]


def test_the_bucket_is_private_and_retained_when_the_stack_is_deleted(videos):
    bucket = videos["Resources"]["Bucket"]
    assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    [deny] = videos["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Principal"], deny["Action"], deny["Condition"]) == ("Deny", "*", "s3:*", OVER_TLS)
