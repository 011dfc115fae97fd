"""The examples of subscribers."""

import pytest

from tests.template.translation import OVER_TLS, VIDEOS, as_list, imported, of_type, statements, translated

pytestmark = pytest.mark.template


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
    assert {queue["Ref"] for queue in policy["Queues"]} == set(queues)
    allow, deny = policy["PolicyDocument"]["Statement"]
    assert (allow["Effect"], allow["Action"]) == ("Allow", "sqs:SendMessage")
    assert allow["Principal"] == {"Service": "sns.amazonaws.com"}
    assert allow["Condition"] == {"ArnEquals": {"aws:SourceArn": topic}}
    assert (deny["Effect"], deny["Principal"], deny["Action"], deny["Condition"]) == ("Deny", "*", "sqs:*", OVER_TLS)
    for statement in [allow, deny]:
        assert {arn["Fn::GetAtt"][0] for arn in as_list(statement["Resource"])} == set(queues)


def test_the_subscription_is_created_after_the_queue_policy(subscriber):
    resources = subscriber["Resources"]
    [subscription] = [resource for resource in resources.values() if resource["Type"] == "AWS::SNS::Subscription"]
    assert "QueuePolicy" in as_list(subscription["DependsOn"])


def test_the_subscription_has_a_status_filter_and_a_dead_letter_queue(subscriber, topic):
    [subscription] = of_type(subscriber, "AWS::SNS::Subscription").values()
    assert subscription["TopicArn"] == topic
    assert subscription["RedrivePolicy"] == {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}
    assert subscription["FilterPolicy"] in [{"status": ["succeed"]}, {"status": ["failed"]}]


def test_each_queue_has_an_alarm_with_the_alarm_topic_of_the_stack_as_default(subscriber, queues):
    default = imported("AlarmTopicArn")
    if "TopicArn" in subscriber["Parameters"]:
        # CloudFormation cannot import from another account.
        default = {"Fn::If": ["HasTopicArn", {"Ref": "AWS::NoValue"}, default]}
    watched = set()
    for alarm in of_type(subscriber, "AWS::CloudWatch::Alarm").values():
        assert alarm["AlarmActions"] == [{"Fn::If": ["HasAlarmTopicArn", {"Ref": "AlarmTopicArn"}, default]}]
        [dimension] = alarm["Dimensions"]
        [queue, attribute] = dimension["Value"]["Fn::GetAtt"]
        assert (dimension["Name"], attribute) == ("QueueName", "QueueName")
        # Any message in a dead-letter queue is a failure. In another queue, only an old message is.
        aside = queue == "DeadLetterQueue"
        metric = "ApproximateNumberOfMessagesVisible" if aside else "ApproximateAgeOfOldestMessage"
        assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("AWS/SQS", metric, "Maximum")
        watched.add(queue)
    assert watched == set(queues)


@pytest.fixture
def videos(settings_of_sam):
    return translated(VIDEOS)


def test_the_role_of_the_videos_function_has_only_the_required_permissions(videos):
    [role] = of_type(videos, "AWS::IAM::Role").values()
    assert set(role) == {"AssumeRolePolicyDocument", "Policies"}
    [policy] = role["Policies"]
    *allowed, (condition, secret, none) = [s.get("Fn::If") or s for s in policy["PolicyDocument"]["Statement"]]
    assert (condition, none) == ("HasApiKey", {"Ref": "AWS::NoValue"})
    assert [(s["Effect"], s["Action"], s["Resource"]) for s in [*allowed, secret]] == [
        (
            "Allow",
            ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"],
            {"Fn::GetAtt": ["Queue", "Arn"]},
        ),
        ("Allow", ["s3:PutObject", "s3:AbortMultipartUpload"], {"Fn::Sub": "${Bucket.Arn}/*"}),
        ("Allow", "s3:ListBucket", {"Fn::GetAtt": ["Bucket", "Arn"]}),
        ("Allow", ["logs:CreateLogStream", "logs:PutLogEvents"], {"Fn::GetAtt": ["LogGroup", "Arn"]}),
        ("Allow", "secretsmanager:GetSecretValue", {"Ref": "ApiKeySecretArn"}),
    ]


def test_the_visibility_timeout_is_at_least_six_times_the_function_timeout(videos):
    [function] = of_type(videos, "AWS::Lambda::Function").values()
    [mapping] = of_type(videos, "AWS::Lambda::EventSourceMapping").values()
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert of_type(videos, "AWS::SQS::Queue")["Queue"]["VisibilityTimeout"] >= 6 * function["Timeout"]


def test_the_bucket_is_private_and_retained_when_the_stack_is_deleted(videos):
    bucket = videos["Resources"]["Bucket"]
    assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    [deny] = statements(videos, "BucketPolicy")
    assert (deny["Effect"], deny["Principal"], deny["Action"], deny["Condition"]) == ("Deny", "*", "s3:*", OVER_TLS)
