"""The alarms. What each metric counts is tested with the lines of the function (test_log.py)."""

from unittest.mock import ANY

import pytest

from tests.template.conftest import TOPIC_ARN, of_type, picked

NAMESPACE = {"Fn::Sub": "PolloWebhook/${AWS::StackName}"}
OF_THE_FUNCTION = {"Namespace": "AWS/Lambda", "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "Function"}}]}
ALARM_TOPIC = {"Fn::If": ["CreatesAlarmTopic", {"Ref": "AlarmTopic"}, {"Ref": "AlarmTopicArn"}]}


@pytest.fixture
def alarms(template):
    return of_type(template, "AWS::CloudWatch::Alarm")


@pytest.fixture
def filters(template):
    return of_type(template, "AWS::Logs::MetricFilter")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SnsFailures", {"MetricName": "NotPublished"}),
        ("UnusableWebhooks", {"MetricName": "AuthenticRejected"}),
        ("WrongSignatures", {"MetricName": "SignatureMismatch", "Threshold": {"Ref": "WrongSignaturesThreshold"}}),
        ("UnreadableHeaders", {"MetricName": "HeadersUnreadable", "Threshold": {"Ref": "UnreadableHeadersThreshold"}}),
        ("Errors", {"MetricName": "Errors", **OF_THE_FUNCTION}),
        ("Throttles", {"MetricName": "Throttles", **OF_THE_FUNCTION}),
    ],
)
def test_one_failure_within_five_minutes_raises_an_alarm(alarms, name, expected):
    common = {"Namespace": NAMESPACE, "Statistic": "Sum", "Period": 300, "EvaluationPeriods": 1, "Threshold": 1}
    common |= {"ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "notBreaching"}
    common |= {"AlarmActions": [ALARM_TOPIC], "OKActions": [ALARM_TOPIC]}
    assert picked(alarms[name], {**common, **expected}) == {**common, **expected}


def test_one_undelivered_outcome_raises_an_alarm(alarms):
    # The sixth part of a topic's ARN is its name.
    name = {"Name": "TopicName", "Value": {"Fn::Select": [5, {"Fn::Split": [":", TOPIC_ARN]}]}}
    watched = {"Namespace": "AWS/SNS", "MetricName": "NumberOfNotificationsFailed", "Dimensions": [name]}
    assert alarms["UndeliveredOutcomes"] == {**alarms["SnsFailures"], **watched, "AlarmDescription": ANY}


def test_silence_raises_an_alarm_if_enabled(template, alarms):
    below = {"MetricName": "Published", "ComparisonOperator": "LessThanThreshold", "AlarmDescription": ANY}
    hours = {"Period": 3600, "EvaluationPeriods": {"Ref": "SilenceHours"}}
    # An hour without any webhook has no data.
    assert alarms["Silence"] == {**alarms["SnsFailures"], **below, **hours, "TreatMissingData": "breaching"}
    conditions = {name: template["Resources"][name].get("Condition") for name in alarms}
    assert conditions == {**dict.fromkeys(alarms), "Silence": "WatchesSilence"}
    # CloudWatch allows at most seven days.
    assert template["Parameters"]["SilenceHours"]["MaxValue"] == 7 * 24


def test_each_filter_writes_its_metric_and_none_has_data_in_a_healthy_stack(template, filters):
    # AWS charges for a metric in each hour with data, and a default value is data.
    for name, filter in filters.items():
        counts = {"MetricName": name, "MetricNamespace": NAMESPACE, "MetricValue": "1"}
        assert filter["MetricTransformations"] == [counts]
        assert filter["LogGroupName"] == {"Ref": "LogGroup"}
    conditions = {name: template["Resources"][name].get("Condition") for name in filters}
    assert conditions == {**dict.fromkeys(filters), "Published": "WatchesSilence"}


def test_alarms_name_the_command_that_brings_outcomes_back(alarms):
    for name in ["SnsFailures", "UnusableWebhooks"]:
        assert "make replay" in alarms[name]["AlarmDescription"]
    # The log has no body that could be sent again.
    for name in ["WrongSignatures", "UnreadableHeaders", "Errors", "Throttles", "Silence"]:
        assert "make reconcile" in alarms[name]["AlarmDescription"]
