"""`make smoke`, `make replay`, `make listen`, alarms and the dashboard."""

import json
import time

import pytest

from local.emulators import KEY, PATIENCE
from operate.pollo import Webhook
from tests.stack.deployment import FAILURE, OTHER_KEY, SUBSCRIBERS, SUCCESS
from tests.stack.emulated_aws import take

pytestmark = pytest.mark.stack


def test_replay_publishes_the_outcomes_of_an_outage_and_a_late_retry(aws, deploy):
    stack = deploy(WebhookSecret=KEY)
    queue = deploy("queue", SUBSCRIBERS / "queue.yaml").outputs["QueueUrl"]
    working = stack.topic_policy()
    stack.let_nobody_publish()
    video = b'{"taskId":"cm9\\\\1","status":"succeed",\n"generations":[{"url":"https:\\/\\/a.example\\/1.mp4"}]}'
    assert [stack.status(KEY, video) for _ in range(11)] == [503] * 11
    stack.set_topic_policy(working)
    other = b'{"taskId":"cm9ap1d4e0002","status":"succeed"}'
    late = Webhook(other, KEY, timestamp=str(int(time.time()) - 3600))
    assert stack.send(late)[0] == 401
    assert stack.status(KEY, b'{"taskId":"t1","status":"paused"}') == 422
    assert stack.status(KEY) == 200
    assert len(take(aws.sqs, queue, 1)) == 1

    status, shown = stack.operate("replay", DRY="1")
    assert status == 0, shown
    assert "not_published (AuthorizationError) 11 " in " ".join(shown.split())
    status, replayed = stack.operate("replay")
    assert (status, replayed.splitlines()[-1]) == (1, "Published 2 of 3.")
    bodies = [body for body, _ in take(aws.sqs, queue, 2)]
    assert sorted(bodies) == sorted([video.decode(), other.decode()])
    status, again = stack.operate("replay", DRY="1")
    assert "not_published" not in again
    assert "timestamp_outside_tolerance" not in again


def test_smoke_reports_what_is_wrong_with_a_stack(deploy):
    stack = deploy(WebhookSecret=KEY)
    status, printed = stack.operate("smoke")
    assert status == 0, printed
    assert "no confirmed subscription" in printed
    status, printed = stack.operate("smoke", WEBHOOK_SECRET=OTHER_KEY)
    assert status != 0
    assert "The key is not one of the function's" in printed
    stack.let_nobody_publish()
    status, printed = stack.operate("smoke")
    assert status != 0
    assert "AuthorizationError" in printed


@pytest.mark.parametrize("topic", ["standard", "fifo"])
def test_listen_shows_published_outcomes_and_removes_its_queue(deploy, topic):
    stack = deploy(WebhookSecret=KEY, TopicType=topic)
    with stack.listener(FILTER='{"status":["failed"]}') as lines:
        webhooks = [(KEY, SUCCESS), (OTHER_KEY, FAILURE), (KEY, FAILURE)]
        assert [stack.status(key, body) for key, body in webhooks] == [200, 401, 200]
        shown = [lines.get(timeout=PATIENCE) for _ in range(4)]
    assert shown[2] == f"   published    {FAILURE.decode()}"
    assert shown[3].startswith("                status=failed  taskId=cm9ap1d4e0001  webhookId=msg_")
    assert [lines.get_nowait() for _ in range(lines.qsize())] == ["", "Removed the queue and its subscription."]


def test_all_alarms_of_a_stack_and_its_subscribers_use_one_topic(aws, deploy):
    stack = deploy(WebhookSecret=KEY, AlarmMail="somebody@example.com", CreateDashboard="true")
    topic = stack.outputs["AlarmTopicArn"]
    assert topic == stack.resources["AlarmTopic"]
    [subscription] = aws.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "somebody@example.com")
    queue = deploy("queue", SUBSCRIBERS / "queue.yaml")
    videos = deploy("videos", SUBSCRIBERS / "videos" / "template.yaml")
    mail = deploy("mail", SUBSCRIBERS / "mail.yaml", Address="somebody@example.com")
    found = [deployed.alarms() for deployed in [stack, queue, videos, mail]]
    assert [len(alarms) for alarms in found] == [6, 2, 2, 1]
    for alarms in found:
        assert [alarm["AlarmActions"] for alarm in alarms.values()] == [[topic]] * len(alarms)
    name = {"Name": "TopicName", "Value": stack.outputs["TopicArn"].rpartition(":")[2]}
    assert found[0]["UndeliveredOutcomes"]["Dimensions"] == [name]
    dashboard = aws.cloudwatch.get_dashboard(DashboardName=stack.resources["Dashboard"])
    shown = json.loads(dashboard["DashboardBody"])["widgets"][0]["properties"]["alarms"]
    assert sorted(shown) == sorted(alarm["AlarmArn"] for alarm in found[0].values())


def test_alarms_can_use_an_existing_topic_and_include_silence(aws, cleanup, deploy):
    topic = aws.sns.create_topic(Name="pages")["TopicArn"]
    cleanup(aws.sns.delete_topic, TopicArn=topic)
    stack = deploy(WebhookSecret=KEY, AlarmTopicArn=topic, SilenceHours="24", UnverifiedThreshold="5")
    assert stack.outputs["AlarmTopicArn"] == topic
    assert "AlarmTopic" not in stack.resources
    alarms = stack.alarms()
    assert [alarm["AlarmActions"] for alarm in alarms.values()] == [[topic]] * 7
    silence = alarms["Silence"]
    assert (silence["Period"] * silence["EvaluationPeriods"]) / 3600 == 24
    assert alarms["UnverifiedWebhooks"]["Threshold"] == 5
