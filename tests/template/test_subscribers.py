"""The examples of subscribers."""

import pytest

from tests.template.translation import OVER_TLS, SUBSCRIBERS, as_list, imported, of_type, translated

pytestmark = pytest.mark.template


@pytest.fixture
def queues(subscriber):
    return of_type(subscriber, "AWS::SQS::Queue")


@pytest.fixture
def topic(subscriber):
    """The topic of the stack that is named or, where an example allows it, one of another account."""
    if "TopicArn" in subscriber["Parameters"]:
        return {"Fn::If": ["HasTopicArn", {"Ref": "TopicArn"}, imported("TopicArn")]}
    return imported("TopicArn")


def test_messages_come_into_its_queues_from_the_topic_alone(subscriber, queues, topic):
    [policy] = of_type(subscriber, "AWS::SQS::QueuePolicy").values()
    assert {queue["Ref"] for queue in policy["Queues"]} == set(queues)
    allow, deny = policy["PolicyDocument"]["Statement"]
    assert (allow["Effect"], allow["Action"]) == ("Allow", "sqs:SendMessage")
    assert allow["Principal"] == {"Service": "sns.amazonaws.com"}
    assert allow["Condition"] == {"ArnEquals": {"aws:SourceArn": topic}}
    assert (deny["Effect"], deny["Principal"], deny["Action"], deny["Condition"]) == ("Deny", "*", "sqs:*", OVER_TLS)
    for statement in [allow, deny]:
        assert {arn["Fn::GetAtt"][0] for arn in as_list(statement["Resource"])} == set(queues)


def test_it_subscribes_only_once_the_topic_may_deliver(subscriber):
    resources = subscriber["Resources"]
    [subscription] = [resource for resource in resources.values() if resource["Type"] == "AWS::SNS::Subscription"]
    # A subscription whose endpoint is the function comes after the function.
    endpoint = subscription["Properties"]["Endpoint"]
    waiting = resources["Function"] if endpoint == {"Fn::GetAtt": ["Function", "Arn"]} else subscription
    assert "QueuePolicy" in as_list(waiting["DependsOn"])


def test_it_subscribes_to_outcomes_of_one_status_and_puts_aside_what_cannot_be_delivered(subscriber, topic):
    [subscription] = of_type(subscriber, "AWS::SNS::Subscription").values()
    assert subscription["TopicArn"] == topic
    assert subscription["RedrivePolicy"] == {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}
    assert subscription["FilterPolicy"] in [{"status": ["succeed"]}, {"status": ["failed"]}]


def test_each_queue_has_an_alarm_which_goes_to_the_topic_of_the_stack_unless_the_user_names_another(subscriber, queues):
    default = imported("AlarmTopicArn")
    if "TopicArn" in subscriber["Parameters"]:
        # Nothing can be imported from another account.
        default = {"Fn::If": ["HasTopicArn", {"Ref": "AWS::NoValue"}, default]}
    watched = set()
    for alarm in of_type(subscriber, "AWS::CloudWatch::Alarm").values():
        assert alarm["AlarmActions"] == [{"Fn::If": ["HasAlarmTopicArn", {"Ref": "AlarmTopicArn"}, default]}]
        [dimension] = alarm["Dimensions"]
        [queue, attribute] = dimension["Value"]["Fn::GetAtt"]
        assert (dimension["Name"], attribute) == ("QueueName", "QueueName")
        # A message in a dead-letter queue is a failure, and one in another queue only once it is old.
        aside = queue == "DeadLetterQueue"
        metric = "ApproximateNumberOfMessagesVisible" if aside else "ApproximateAgeOfOldestMessage"
        assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("AWS/SQS", metric, "Maximum")
        watched.add(queue)
    assert watched == set(queues)


def test_the_function_may_write_its_log_and_put_messages_aside_and_do_nothing_else():
    [example] = [path for path in SUBSCRIBERS if path.stem == "function"]
    [role] = of_type(translated(example), "AWS::IAM::Role").values()
    assert set(role) == {"AssumeRolePolicyDocument", "Policies"}
    [policy] = role["Policies"]
    allowed = [(s["Effect"], s["Action"], s["Resource"]) for s in policy["PolicyDocument"]["Statement"]]
    assert allowed == [
        ("Allow", ["logs:CreateLogStream", "logs:PutLogEvents"], {"Fn::GetAtt": ["LogGroup", "Arn"]}),
        ("Allow", "sqs:SendMessage", {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}),
    ]
