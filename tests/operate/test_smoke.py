"""`make smoke`, with a double of the function URL."""

import json
import re
import subprocess
import time

import pytest
from werkzeug import Response

from operate.pollo import PUBLISHED_KEY
from tests.operate.conftest import KEY, OTHER_KEY, PUBLISHED, accepts, is_signed, line

MINE = "bXkgb3duIGtleSBvZiBQb2xsbydz"


def test_smoke_passes_if_only_the_signed_webhook_is_published(stack, function):
    function.respond = accepts(MINE)
    printed = stack.run("smoke", WEBHOOK_SECRET=MINE)
    assert f"\nSigned with key 1: 200 {PUBLISHED}\nForged: 401 {{}}\n" in printed
    assert printed.endswith("\nSigned with the published test key: 401 {}\nThe function works.\n")
    signed, forged, published = function.requests
    assert [is_signed(signed, MINE), is_signed(published, PUBLISHED_KEY)] == [True, True]
    assert not any(is_signed(forged, key) for key in [MINE, PUBLISHED_KEY])
    assert re.fullmatch(rb'{"taskId":"smoke-\d+","status":"succeed"}', function.bodies[0])
    assert len(set(function.bodies)) == 1
    assert f"Sends a success of the task {json.loads(function.bodies[0])['taskId']} to {function.url}." in printed


def test_smoke_fails_if_the_function_accepts_the_published_test_key(stack, function):
    function.respond = accepts(MINE, KEY)
    printed = stack.run("smoke", exits=1, WEBHOOK_SECRET=MINE)
    assert "\nThe function accepts the published test key, which everyone can read: anyone can forge" in printed


def test_smoke_fails_if_a_forged_webhook_is_accepted(stack, function):
    function.respond = lambda _: Response(PUBLISHED)
    printed = stack.run("smoke", exits=1)
    assert printed.endswith("\nA forged webhook must be rejected with 401: this is not the URL of the function.\n")


@pytest.mark.parametrize("url", ["https://localhost.example.com/", "http://127.0.0.1@a.com/"])
def test_smoke_with_the_published_test_key_is_only_for_a_local_url(stack, url):
    printed = stack.run("smoke", exits=1, STACK=None, URL=url, WEBHOOK_SECRET=f"{OTHER_KEY} whsec_{KEY}")
    assert printed.startswith("WEBHOOK_SECRET contains the published test key, which everyone can read. Nothing was")


def test_smoke_with_a_url_needs_no_credentials_and_no_boto3(stack, function, tmp_path):
    (tmp_path / "boto3.py").write_text("raise ImportError\n")
    nothing = {"STACK": None, "AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_DEFAULT_REGION": None}
    process = stack.process("smoke", URL=function.url, PYTHONPATH=str(tmp_path), **nothing)
    ran = subprocess.run(**process, capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr, len(function.requests)) == (0, "", 2)
    assert stack.run("smoke", exits=1, STACK=None).startswith("Neither STACK nor URL is set: make smoke STACK=")


def test_smoke_sends_with_each_key_to_url_instead_of_the_stacks(stack, function, double):
    other = double("/other", accepts(KEY))
    printed = stack.run("smoke", exits=1, URL=other.url, WEBHOOK_SECRET=f"{KEY} {OTHER_KEY}")
    assert re.search("^Signed with key 1: 200 .*\nSigned with key 2: 401 ", printed, re.MULTILINE)
    assert (len(other.requests), function.requests) == (3, [])


def test_smoke_warns_about_a_topic_without_a_confirmed_subscription(stack, double):
    member = "<member><Endpoint>you@example.com</Endpoint><SubscriptionArn>{}</SubscriptionArn></member>"
    members = (
        "<R><ListSubscriptionsByTopicResult><Subscriptions>{}</Subscriptions></ListSubscriptionsByTopicResult></R>"
    )
    arns = ["PendingConfirmation", "Deleted"]
    sns = double("/sns", lambda _: Response(members.format("".join(map(member.format, arns)))))
    stack.environment["AWS_ENDPOINT_URL_SNS"] = sns.url
    assert "has no confirmed subscription" in stack.run("smoke")
    arns.append("arn:aws:sns:us-east-1:123456789012:topic:1")
    assert "has no confirmed subscription" not in stack.run("smoke")


def test_smoke_continues_if_subscriptions_cannot_be_listed(stack):
    stack.outputs["TopicArn"] = "arn:aws:sns:us-east-1:123456789012:gone"
    assert "The topic's subscriptions cannot be listed. AWS: An error occurred (NotFound)" in stack.run("smoke")


@pytest.mark.parametrize(
    ("logged", "explained"),
    [
        (line("not_published", "TASK", code="KMSDisabled", detail="key\x9b"), '"code": "KMSDisabled"'),
        (line("not_configured", detail="SNS_TOPIC_ARN: no"), "SNS_TOPIC_ARN: no"),
        (line("panic", location="src/lib.rs:1:1"), "src/lib.rs:1:1"),
        ("RequestId: 8f Error: fork/exec /var/task/bootstrap: exec format error", "exec format error"),
        ('{"type":"platform.initReport","record":{"errorType":"Runtime.InvalidEntrypoint"}}', "InvalidEntrypoint"),
    ],
)
def test_smoke_names_the_cause_from_the_log(stack, function, logged, explained):
    def respond(request):
        task = json.loads(request.get_data())["taskId"]
        stack.has_logged(logged.replace("TASK", task), line("not_published", "smoke-2"), line("published", task), ago=1)
        return Response("", 502)

    function.respond = respond
    cause = stack.run("smoke", exits=1).splitlines()[-1]
    assert cause.startswith("The log says: ")
    assert explained in cause


def test_smoke_refers_to_a_log_that_it_cannot_read(stack, function):
    function.respond = lambda _: Response("", 502)
    printed = stack.run("smoke", exits=1, AWS_ENDPOINT_URL_CLOUDWATCH_LOGS="http://127.0.0.1:1")
    assert "The function's log cannot be read. AWS cannot be reached: " in printed.splitlines()[-1]


@pytest.mark.parametrize(
    ("status", "text", "cause"),
    [
        (200, "[" * 100_000, "Nothing was published: this is not the URL of the function."),
        (200, '{"messageId":1}', "Nothing was published: this is not the URL of the function."),
        (302, "[]", "The function never responds with this status: this is not its URL."),
        (401, '{"error":"signature does not match"}', "The key is not one of the function's: WEBHOOK_SECRET must"),
        (401, '{"error":"timestamp is outside the tolerance"}', "The clock of this machine differs"),
        (403, '{"messageId":"5b"}', "The URL is not public: one of its two permissions is missing"),
        (503, '{"error":"the outcome could not be published"}', "SNS did not accept the message"),
        (503, "", "The function was not available: its concurrency is used up, or it timed out."),
    ],
)
def test_smoke_explains_each_response_once(stack, function, status, text, cause):
    function.respond = lambda _: Response(text, status, headers={"Location": function.url})
    printed = stack.run("smoke", exits=1, STACK=None, URL=function.url, WEBHOOK_SECRET=f"{KEY} {OTHER_KEY}")
    *_, forged, explained = printed.splitlines()
    assert forged == f"Forged: {status} {text[:200]}".rstrip()
    assert explained.startswith(f"A signed webhook must be published. {cause}")
    # A redirect is not followed.
    assert len(function.requests) == 3


def test_a_url_that_does_not_respond_times_out(stack, function, monkeypatch):
    monkeypatch.setattr("operate.smoke.TIMEOUT_SECONDS", 0.2)
    function.respond = lambda _: time.sleep(1) or Response("")
    assert stack.run("smoke", exits=1).endswith(f"No response from {function.url} within 0.2 seconds.\n")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://127.0.0.1:x/", "http://[::1/"])
def test_an_unreachable_url_is_reported(stack, url):
    printed = stack.run("smoke", exits=1, STACK=None, URL=url, WEBHOOK_SECRET=MINE)
    assert f"\n{url} cannot be reached: " in printed
