"""`make smoke`, with a fake function URL."""

import json
import re

import pytest

from operate.function_url import Response
from tests.http_server import serving
from tests.operate.conftest import CHECKOUT, KEY, OTHER_KEY, signature, verifies
from tests.operate.test_unpublished import line


def forged(request):
    return request.headers["X-Webhook-Signature"] != signature(KEY, request.headers, request.body)


def test_smoke_passes_if_the_signed_webhook_is_published_and_the_forged_rejected(stack, function):
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


def test_smoke_needs_only_a_url(stack, function):
    status, _ = stack.run("smoke", YES="1", STACK=None, URL=function.url, AWS_DEFAULT_REGION=None)
    assert (status, len(function.requests)) == (0, 2)


def test_smoke_prefers_url_to_the_url_of_the_stack(stack, function):
    with serving(verifies) as other:
        assert stack.run("smoke", YES="1", URL=other.url)[0] == 0
    assert (len(other.requests), function.requests) == (2, [])


def test_smoke_tries_each_key(stack, function):
    status, printed = stack.run("smoke", YES="1", WEBHOOK_SECRET=f"{KEY} {OTHER_KEY}")
    assert "Signed with key 1: 200" in printed
    assert "Signed with key 2: 401" in printed
    assert "The key is not one of the function's" in printed
    assert (status, len(function.requests)) == (1, 3)


@pytest.mark.parametrize(
    ("arns", "warned"),
    [
        ([], True),
        (["PendingConfirmation", "Deleted"], True),
        (["Deleted", "arn:aws:sns:us-east-1:123456789012:topic:1"], False),
    ],
)
def test_smoke_warns_about_a_topic_without_a_confirmed_subscription(stack, arns, warned):
    member = "<member><Endpoint>you@example.com</Endpoint><SubscriptionArn>{}</SubscriptionArn></member>"
    members = "".join(map(member.format, arns))
    response = f"<Response><ListSubscriptionsByTopicResult><Subscriptions>{members}</Subscriptions></ListSubscriptionsByTopicResult></Response>"
    with serving(lambda _: (200, response.encode())) as sns:
        printed = stack.run("smoke", YES="1", AWS_ENDPOINT_URL_SNS=sns.url)[1]
    assert ("has no confirmed subscription" in printed) == warned


def test_smoke_continues_if_subscriptions_cannot_be_listed(stack):
    stack.outputs["TopicArn"] = "arn:aws:sns:us-east-1:123456789012:gone"
    status, printed = stack.run("smoke", YES="1")
    assert "The topic's subscriptions cannot be listed. AWS reports an error: " in printed
    assert status == 0


@pytest.mark.parametrize("status", [200, 401, 403])
def test_smoke_explains_unexpected_responses_once(stack, function, status):
    function.respond = lambda _: (status, b"<html>")
    ended, printed = stack.run("smoke", YES="1", WEBHOOK_SECRET=f"{KEY} {OTHER_KEY}")
    assert printed.splitlines()[-4:] == [
        f"Signed with key 1: {status} <html>",
        f"Signed with key 2: {status} <html>",
        f"Forged: {status} <html>",
        f"A signed webhook must be published. {Response(status, '<html>').cause()}",
    ]
    assert ended == 1


def test_smoke_fails_if_a_forged_webhook_is_accepted(stack, function):
    function.respond = lambda _: (200, b'{"messageId":"1"}')
    status, printed = stack.run("smoke", YES="1")
    assert "A forged webhook must be rejected with 401" in printed
    assert status == 1


def test_smoke_fails_without_a_message_id(stack, function):
    function.respond = lambda request: verifies(request) if forged(request) else (200, b"<html>")
    status, printed = stack.run("smoke", YES="1")
    assert "Nothing was published: this is not the URL of the function." in printed
    assert status == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_smoke_names_the_cause_from_the_log(stack, function, status):
    def respond(request):
        if forged(request):
            return verifies(request)
        task_id = json.loads(request.body)["taskId"]
        cause = line("not_published", task_id, code="KMSDisabled")
        stack.has_logged(line("panic"), cause, line("not_published", "other"), ago=0.1)
        return status, b""

    function.respond = respond
    ended, printed = stack.run("smoke", YES="1")
    assert "SNS did not accept the message: KMSDisabled: " in printed
    assert ended == 1


def test_smoke_without_a_stack_refers_to_the_log_after_a_502(stack, function):
    function.respond = lambda _: (502, b"")
    status, printed = stack.run("smoke", YES="1", STACK=None, URL=function.url)
    assert "The function did not start, or failed on the request: its log says why." in printed
    assert "Reading" not in printed
    assert status == 1


def test_smoke_reports_a_log_that_cannot_be_read(stack, function):
    function.respond = lambda _: (502, b"")
    status, printed = stack.run("smoke", YES="1", AWS_ENDPOINT_URL_CLOUDWATCH_LOGS="http://127.0.0.1:1")
    assert "The function's log cannot be read. AWS cannot be reached: " in printed
    assert status == 1


def test_the_filter_policy_in_the_docs_excludes_only_smoke_tests(stack):
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
