"""`make smoke`, against a function URL that responds as it is told."""

import json
import os
import pty
import re
import subprocess

import pytest

from tests.http_server import serving
from tests.operate.conftest import CHECKOUT, KEY, OTHER_KEY, signature, verifies
from tests.operate.test_unpublished import line

NO_SUBSCRIPTION = "has no confirmed subscription"


def forged(request):
    return request.headers["X-Webhook-Signature"] != signature(KEY, request.headers, request.body)


def test_a_function_that_works_publishes_a_success_and_rejects_a_forged_one(stack, function):
    status, printed = stack.run("smoke", YES="1")
    assert status == 0
    assert 'Signed with key 1: 200 {"messageId":"5b9f6a2e-0001"}' in printed
    assert 'Forged: 401 {"error":"signature does not match"}' in printed
    assert printed.endswith("The function works.\n")
    signed, other = function.requests
    assert (forged(signed), forged(other)) == (False, True)
    assert re.fullmatch(rb'{"taskId":"smoke-\d+","status":"succeed"}', signed.body)
    assert signed.body == other.body
    assert f"Sends a success of the task {json.loads(signed.body)['taskId']} to {function.url}." in printed


def test_a_url_is_enough(stack, function):
    status, _ = stack.run("smoke", YES="1", STACK=None, URL=function.url, AWS_DEFAULT_REGION=None)
    assert (status, len(function.requests)) == (0, 2)


def test_each_key_is_tried(stack, function):
    status, printed = stack.run("smoke", YES="1", WEBHOOK_SECRET=f"{KEY} {OTHER_KEY}")
    assert "Signed with key 1: 200" in printed
    assert "Signed with key 2: 401" in printed
    assert "The key is not one of the function's" in printed
    assert (status, len(function.requests)) == (1, 3)


def test_a_topic_without_subscription_is_warned_of(stack):
    assert NO_SUBSCRIPTION in stack.run("smoke", YES="1")[1]
    stack.sns.subscribe(TopicArn=stack.topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:q")
    assert NO_SUBSCRIPTION not in stack.run("smoke", YES="1")[1]


@pytest.mark.parametrize("arn", ["PendingConfirmation", "Deleted"])
def test_a_subscription_that_is_not_confirmed_does_not_count(stack, arn):
    subscription = f"<member><SubscriptionArn>{arn}</SubscriptionArn></member>"
    listed = f"<ListSubscriptionsByTopicResult><Subscriptions>{subscription}</Subscriptions></ListSubscriptionsByTopicResult>"
    response = f"<ListSubscriptionsByTopicResponse>{listed}</ListSubscriptionsByTopicResponse>"
    with serving(lambda _: (200, response.encode())) as sns:
        assert NO_SUBSCRIPTION in stack.run("smoke", YES="1", AWS_ENDPOINT_URL_SNS=sns.url)[1]


def test_a_topic_that_cannot_be_looked_at_does_not_stop_it(stack):
    stack.outputs["TopicArn"] = "arn:aws:sns:us-east-1:123456789012:gone"
    status, printed = stack.run("smoke", YES="1")
    assert "The topic's subscriptions cannot be listed. AWS reports an error: " in printed
    assert status == 0


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        ((401, b'{"error":"signature does not match"}'), "The key is not one of the function's"),
        ((401, b'{"error":"timestamp is outside the tolerance"}'), "The clock of this machine"),
        ((403, b'{"Message":"Forbidden"}'), "The URL is not public: one of its two permissions is missing"),
        ((404, b""), "There is no function at this URL."),
        ((429, b""), "The concurrency is used up, or ReservedConcurrency is 0."),
        ((200, b"<html>"), "this is not the URL of the function"),
        ((418, b""), "the URL belongs to something else"),
    ],
)
def test_a_response_that_must_not_be_is_explained(stack, function, response, cause):
    function.respond = lambda _: response
    status, printed = stack.run("smoke", YES="1")
    assert f"Signed with key 1: {response[0]}" in printed
    assert cause in printed
    assert "The function works." not in printed
    assert status == 1


def test_a_url_that_takes_forged_webhooks_is_not_the_functions(stack, function):
    function.respond = lambda _: (200, b'{"messageId":"1"}')
    status, printed = stack.run("smoke", YES="1")
    assert "A forged webhook must be rejected with 401" in printed
    assert status == 1


def test_a_response_without_a_message_id_is_a_failure_even_if_a_forged_webhook_is_rejected(stack, function):
    function.respond = lambda request: verifies(request) if forged(request) else (200, b"<html>")
    status, printed = stack.run("smoke", YES="1")
    assert "Nothing was published: this is not the URL of the function." in printed
    assert status == 1


@pytest.mark.parametrize(
    ("status", "logged", "cause"),
    [
        (502, lambda _: "fork/exec /var/task/bootstrap: exec format error", "built for another architecture"),
        (500, lambda _: "fork/exec /var/task/bootstrap: exec format error", "built for another architecture"),
        (502, lambda _: line("not_configured"), "The function does not start: WEBHOOK_SECRET: key 1 has 6 bytes"),
        (503, lambda task_id: line("not_published", task_id, code="KMSDisabled"), "KMSDisabled: service error."),
    ],
)
def test_the_log_of_a_stack_explains_502_and_503(stack, function, status, logged, cause):
    def respond(request):
        stack.has_logged(line("published"), logged(json.loads(request.body)["taskId"]), ago=0.1)
        return verifies(request) if forged(request) else (status, b"")

    function.respond = respond
    ended, printed = stack.run("smoke", YES="1")
    assert cause in printed
    assert ended == 1


def test_without_a_stack_502_points_to_the_log(stack, function):
    function.respond = lambda _: (502, b"")
    status, printed = stack.run("smoke", YES="1", STACK=None, URL=function.url)
    assert "The function did not start, or failed on the request: its log says why." in printed
    assert "Reading" not in printed
    assert status == 1


def test_a_log_that_cannot_be_read_is_said(stack, function):
    function.respond = lambda _: (502, b"")
    status, printed = stack.run("smoke", YES="1", AWS_ENDPOINT_URL_CLOUDWATCH_LOGS="http://127.0.0.1:1")
    assert "Its log cannot be read. AWS cannot be reached: " in printed
    assert status == 1


def test_the_filter_policy_of_the_runbook_excludes_smoke_tests_and_nothing_else(stack):
    [policy] = re.findall(r'^    (\{"taskId": .*)$', (CHECKOUT / "docs" / "operations.md").read_text(), re.MULTILINE)
    queue = stack.sqs.create_queue(QueueName=stack.name)["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:123456789012:{stack.name}"
    attributes = {"RawMessageDelivery": "true", "FilterPolicy": policy}
    stack.sns.subscribe(TopicArn=stack.topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
    for task_id in ["smoke-1795600489", "cm9ap1d4e0001", "t-smoke-1"]:
        attribute = {"taskId": {"DataType": "String", "StringValue": task_id}}
        stack.sns.publish(TopicArn=stack.topic, Message=task_id, MessageAttributes=attribute)
    messages = stack.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert sorted(message["Body"] for message in messages) == ["cm9ap1d4e0001", "t-smoke-1"]


def test_without_a_terminal_and_without_yes_nothing_is_sent(stack, function):
    status, printed = stack.run("smoke")
    assert "there is no terminal to ask on. Run it in one, or set YES=1." in printed
    assert (status, function.requests) == (1, [])


@pytest.mark.parametrize(("answer", "sent"), [("y", 2), ("n", 0)])
def test_on_a_terminal_it_asks(stack, function, answer, sent):
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    ran = subprocess.run(**stack.process("smoke"), stdin=theirs, capture_output=True, timeout=60, check=False)
    os.close(ours)
    os.close(theirs)
    assert "Send them? [y/N] " in ran.stdout
    assert (len(function.requests), ran.returncode) == (sent, 0 if sent else 1)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"STACK": None}, "Neither STACK nor URL is set: make smoke STACK=pollo-webhook, or URL=https://…"),
        ({"STACK": "other"}, "There is no stack other in us-east-1"),
        ({"URL": "example.com"}, "URL is not an http or https URL"),
        ({"WEBHOOK_SECRET": ""}, "WEBHOOK_SECRET is not set; expected the Base64 key"),
        ({"WEBHOOK_SECRET": "a!bc"}, "WEBHOOK_SECRET: key 1 is not Base64; expected the Base64 key"),
        ({"STACK": None, "URL": "http://127.0.0.1:1/"}, "http://127.0.0.1:1/ cannot be reached: "),
    ],
)
def test_what_is_wrong_in_the_settings_is_said_in_a_sentence(stack, function, environment, sentence):
    status, printed = stack.run("smoke", **{"YES": "1", **environment})
    assert sentence in printed
    assert (status, function.requests) == (1, [])
