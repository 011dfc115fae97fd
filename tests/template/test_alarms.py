"""The alarms with their metrics, thresholds and topic, and the dashboard."""

import json

import pytest

from tests.template.translation import ALARM_TOPIC, TOPIC_ARN, of_type

pytestmark = pytest.mark.template


@pytest.fixture
def alarms(template):
    return of_type(template, "AWS::CloudWatch::Alarm")


@pytest.fixture
def metrics(template):
    """The metrics of the metric filters."""
    filters = of_type(template, "AWS::Logs::MetricFilter").values()
    return [transformation for filter in filters for transformation in filter["MetricTransformations"]]


def test_alarms_watch_metrics_that_exist(alarms, metrics):
    namespace = {"Fn::Sub": "PolloWebhook/${AWS::StackName}"}
    # The sixth part of a topic's ARN is its name.
    topic = {"Fn::Select": [5, {"Fn::Split": [":", TOPIC_ARN]}]}
    existing = {
        "AWS/Lambda": (["Errors", "Throttles"], {"FunctionName": {"Ref": "Function"}}),
        "AWS/SNS": (["NumberOfNotificationsFailed"], {"TopicName": topic}),
        str(namespace): ([metric["MetricName"] for metric in metrics], {}),
    }
    assert all(metric["MetricNamespace"] == namespace and "Dimensions" not in metric for metric in metrics)
    for alarm in alarms.values():
        names, dimensions = existing[str(alarm["Namespace"])]
        assert alarm["MetricName"] in names
        assert {d["Name"]: d["Value"] for d in alarm.get("Dimensions", [])} == dimensions


def test_one_failure_of_any_kind_raises_an_alarm(template, alarms):
    del alarms["Silence"]
    default = template["Parameters"]["UnverifiedThreshold"]["Default"]
    for alarm in alarms.values():
        threshold = default if alarm["Threshold"] == {"Ref": "UnverifiedThreshold"} else alarm["Threshold"]
        failure = (alarm["Statistic"], alarm["ComparisonOperator"], threshold)
        assert failure == ("Sum", "GreaterThanOrEqualToThreshold", 1)
        assert (alarm["Period"], alarm["EvaluationPeriods"]) == (300, 1)
        assert alarm["TreatMissingData"] == "notBreaching"


def test_silence_raises_an_alarm_if_enabled(template, alarms):
    hours, silence = template["Parameters"]["SilenceHours"], alarms["Silence"]
    assert hours["Default"] == 0
    assert (silence["MetricName"], silence["Statistic"]) == ("Published", "Sum")
    assert (silence["ComparisonOperator"], silence["Threshold"]) == ("LessThanThreshold", 1)
    # An hour without any webhook has no data.
    assert silence["TreatMissingData"] == "breaching"
    # CloudWatch allows at most seven days.
    assert silence["Period"] * hours["MaxValue"] == 7 * 24 * 3600


def test_all_alarms_use_the_alarm_topic(alarms):
    for alarm in alarms.values():
        assert (alarm["AlarmActions"], alarm["OKActions"]) == ([ALARM_TOPIC], [ALARM_TOPIC])


def test_the_dashboard_shows_every_alarm_and_every_metric(template, alarms, metrics):
    body, variables = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    condition, optional, none = variables["SilenceAlarm"]["Fn::If"]
    assert (condition, none) == ("WatchesSilence", "")
    for silence, missing in [(optional["Fn::Sub"], set()), (none, {"Silence"})]:
        widgets = json.loads(body.replace("${SilenceAlarm}", silence))["widgets"]
        [shown] = [widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm"]
        assert set(shown) == {f"${{{name}.Arn}}" for name in set(alarms) - missing}
    shown = json.dumps([widget["properties"].get("metrics") for widget in widgets])
    # A request that the URL itself rejects leaves no invocation and no line in the log.
    for name in ["UrlRequestCount", "Url4xxCount", "Url5xxCount", *(metric["MetricName"] for metric in metrics)]:
        assert f'"{name}"' in shown
