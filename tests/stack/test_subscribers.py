"""The examples of subscribers, and the permissions to subscribe and publish."""

import json
import shutil
import time

import boto3
import pytest
from botocore.exceptions import ClientError

from local.emulators import KEY, PATIENCE
from operate.pollo import NOBODYS_KEY, Webhook
from tests.stack.deployment import FAILURE, SUBSCRIBERS, SUCCESS, Stack, sam_deploy_stack
from tests.stack.emulated_aws import ACCOUNT, REGION, SETTLING_SECONDS, run, take
from tests.videos import pollo as fake
from tests.videos.pollo import reports, sends

pytestmark = pytest.mark.stack

OTHER_ACCOUNT = "210987654321"
THIRD_ACCOUNT = "333333333333"


def test_subscribers_get_signed_outcomes_and_no_forged_ones(aws, deploy):
    stack = deploy(WebhookSecret=KEY)
    queue = deploy("queue", SUBSCRIBERS / "queue.yaml")
    mail = deploy("mail", SUBSCRIBERS / "mail.yaml", Address="somebody@example.com")

    success = Webhook(SUCCESS, KEY)
    status, response = stack.send(success)
    assert (status, list(response)) == (200, ["messageId"])
    assert stack.status(KEY, FAILURE) == 200
    assert stack.send(Webhook(SUCCESS, NOBODYS_KEY)) == (401, {"error": "signature does not match"})

    attributes = {
        "status": "succeed",
        "taskId": "cm9ap1d4e0001",
        "webhookId": success.id,
        "webhookTimestamp": success.timestamp,
    }
    assert take(aws.sqs, queue.outputs["QueueUrl"], 1) == [(SUCCESS.decode(), attributes)]
    for subscriber in [queue, mail]:
        assert take(aws.sqs, subscriber.outputs["DeadLetterQueueUrl"], 0) == []
    subscriptions = aws.sns.list_subscriptions_by_topic(TopicArn=stack.outputs["TopicArn"])["Subscriptions"]
    assert [s["Endpoint"] for s in subscriptions if s["Protocol"] == "email"] == ["somebody@example.com"]
    assert stack.results() == ["published", "published", "signature_mismatch"]


@pytest.fixture
def pollo(aws):
    with fake.pollo(aws.certificates) as double:
        yield double


@pytest.fixture
def videos(deploy, tmp_path, pollo, package):
    """The subscriber that stores videos, in a copy with two lines changed to use a local fake of Pollo."""

    def videos(**parameters):
        folder = shutil.copytree(package / SUBSCRIBERS / "videos", tmp_path / "videos")
        source = folder / "store_videos.py"
        text = source.read_text()
        for old, new in [
            ('API = "https://pollo.ai/api/platform/generation"', f'API = "{pollo.url}/api"'),
            ("    return address.is_global and not hidden", "    return True"),
        ]:
            assert text.count(old) == 1
            text = text.replace(old, new)
        source.write_text(text)
        return deploy("videos", folder / "template.yaml", **parameters)

    return videos


def test_the_package_stores_videos_even_after_an_outage(aws, cleanup, deploy, pollo, videos):
    stack = deploy(WebhookSecret=KEY)
    status, printed = stack.operate("smoke")
    assert status == 0, printed
    bucket = videos().outputs["BucketName"]
    cleanup(empty_and_delete, aws.s3, bucket)
    expected = {}
    with stack.listener() as lines:
        for task, published in [("t1", 200), ("t2", 503)]:
            url = pollo.responds(f"/{task}.mp4", sends(200, task.encode()))
            outcome = {"taskId": task, "status": "succeed", "generations": [{"id": "g", "url": url}]}
            working = stack.topic_policy()
            if published == 503:
                stack.let_nobody_publish()
            assert stack.status(KEY, json.dumps(outcome).encode()) == published
            stack.set_topic_policy(working)
            expected[f"{task}/g.mp4"] = task.encode()
        status, printed = stack.operate("replay")
        assert (status, printed.splitlines()[-1]) == (0, "Published 1 of 1.")
        assert stored(aws.s3, bucket, len(expected)) == expected
        shown = [lines.get(timeout=PATIENCE) for _ in range(2 * 4)]
    assert [json.loads(line.split(maxsplit=1)[1])["taskId"] for line in shown[2::4]] == ["t1", "t2"]


@pytest.mark.parametrize("kind", ["standard", "fifo"])
def test_each_video_is_stored_once_and_failures_go_to_the_dead_letter_queue(aws, cleanup, deploy, pollo, videos, kind):
    stack = deploy(WebhookSecret=KEY, TopicType=kind)
    if kind == "fifo":
        # The emulator's CloudFormation does not set this attribute.
        aws.sns.set_topic_attributes(
            TopicArn=stack.outputs["TopicArn"], AttributeName="FifoTopic", AttributeValue="true"
        )
    secret = aws.secretsmanager.create_secret(Name="pollo-api-key", SecretString="key-1")["ARN"]
    cleanup(aws.secretsmanager.delete_secret, SecretId=secret, ForceDeleteWithoutRecovery=True)
    subscriber = videos(ApiKeySecretArn=secret, RetrySeconds="0", MaxBytes="9000000")
    bucket = subscriber.outputs["BucketName"]
    cleanup(empty_and_delete, aws.s3, bucket)
    expected = {}
    for number, fault in enumerate(
        [None, sends(404), sends(500), sends(429), sends(200, b"half", Content_Length=9), sends(403)]
    ):
        body = bytes([number]) * 8_500_000
        responses = [fault] if fault else []
        url = pollo.responds(f"/{number}.mp4", *responses, sends(200, body))
        pollo.responds(f"/api/t{number}/status", *responses[:1], reports({"id": "g", "url": url}, wrapped=number % 2))
        generations = [{"id": "g", "url": url, "status": "succeed"}] if number % 3 else []
        outcome = json.dumps({"taskId": f"t{number}", "status": "succeed", "generations": generations}).encode()
        # Pollo retries if it does not receive the response.
        assert [stack.status(KEY, outcome), stack.status(KEY, outcome)] == [200, 200]
        expected[f"t{number}/g.mp4"] = body
    large = pollo.responds("/large", sends(200, bytes(9_000_001)))
    lost = [
        json.dumps({"taskId": "large", "status": "succeed", "generations": [{"id": "g", "url": large}]}),
        json.dumps({"taskId": "plain", "status": "succeed", "generations": [{"url": "http://localhost/"}]}),
    ]
    for outcome in lost:
        assert stack.status(KEY, outcome.encode()) == 200
    assert stack.status(KEY, FAILURE) == 200
    aside = [body for body, _ in take(aws.sqs, subscriber.outputs["DeadLetterQueueUrl"], 2)]
    assert sorted(aside) == lost
    assert stored(aws.s3, bucket, len(expected)) == expected
    lines = subscriber.lines()
    assert sorted(key for line in lines for key in line["objects"]) == sorted(expected)
    assert {line["result"] for line in lines} == {"stored", "retry"}
    assert take(aws.sqs, subscriber.outputs["QueueUrl"], 0) == []


def stored(s3, bucket, expected):
    """Waits for `expected` objects in a bucket. Returns them and any further ones."""
    deadline = time.monotonic() + PATIENCE
    while len(keys(s3, bucket)) < expected and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(SETTLING_SECONDS)
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys(s3, bucket)}


def keys(s3, bucket):
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def empty_and_delete(s3, bucket):
    """Deletes the bucket, which remains after its stack is deleted."""
    for key in keys(s3, bucket):
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)


def test_a_fifo_topic_delivers_each_outcome_once_to_both_queue_types(aws, deploy):
    stack = deploy("fifo", WebhookSecret=KEY, TopicType="fifo", ReservedConcurrency="none")
    # The emulator's CloudFormation does not set this attribute.
    topic = stack.outputs["TopicArn"]
    aws.sns.set_topic_attributes(TopicArn=topic, AttributeName="FifoTopic", AttributeValue="true")
    queues = [
        deploy(f"{kind}-queue", SUBSCRIBERS / "queue.yaml", WebhookStack="fifo", QueueType=kind)
        for kind in ["standard", "fifo"]
    ]
    assert [stack.status(KEY) for _ in range(3)] == [200, 200, 200]
    for queue in queues:
        assert [body for body, _ in take(aws.sqs, queue.outputs["QueueUrl"], 1)] == [SUCCESS.decode()]


def test_only_listed_accounts_can_subscribe(aws, deploy, package):
    stack = deploy(WebhookSecret=KEY, SubscriberAccounts=f"{ACCOUNT[::-1]},{OTHER_ACCOUNT}")
    topic = stack.outputs["TopicArn"]
    queue = sam_deploy_stack("queue", SUBSCRIBERS / "queue.yaml", TopicArn=topic)
    run(*queue, cwd=package, account=OTHER_ACCOUNT)
    # To the emulator, an access key of twelve digits belongs to the root of that account.
    other, third = [boto3.Session(account, "test") for account in [OTHER_ACCOUNT, THIRD_ACCOUNT]]
    queue = Stack(aws, "queue", other.client("cloudformation")).outputs
    # The emulator supports subscriptions across accounts in SNS, but not in CloudFormation.
    subscription = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue["QueueArn"]}
    raw = {"RawMessageDelivery": "true"}
    with pytest.raises(ClientError, match="not authorized to perform: sns:Subscribe"):
        third.client("sns").subscribe(**subscription, Attributes=raw)
    assert stack.status(KEY) == 200
    other.client("sns").subscribe(**subscription, Attributes=raw)
    assert stack.status(KEY, FAILURE) == 200
    messages = take(other.client("sqs"), queue["QueueUrl"], 1)
    assert [body for body, _ in messages] == [FAILURE.decode()]
    with pytest.raises(ClientError, match="not authorized to perform: sns:Publish"):
        other.client("sns").publish(TopicArn=topic, Message=SUCCESS.decode())


def test_only_the_function_can_publish_and_it_can_do_nothing_else(aws, deploy):
    stack = deploy(WebhookSecret=KEY)
    topic = stack.outputs["TopicArn"]
    with pytest.raises(aws.sns.exceptions.AuthorizationErrorException, match="not authorized to perform"):
        aws.sns.publish(TopicArn=topic, Message=SUCCESS.decode())
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:"
    for action, resource, decision in [
        ("sns:Publish", topic, "allowed"),
        ("sns:Publish", topic + "2", "implicitDeny"),
        ("sns:Subscribe", topic, "implicitDeny"),
        ("logs:PutLogEvents", f"{group}/aws/lambda/pollo-webhook:log-stream:1", "allowed"),
        ("logs:PutLogEvents", f"{group}/aws/lambda/other:log-stream:1", "implicitDeny"),
        ("logs:DeleteLogGroup", f"{group}/aws/lambda/pollo-webhook:*", "implicitDeny"),
        ("kms:Decrypt", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1", "implicitDeny"),
    ]:
        assert stack.decision(action, resource) == decision, (action, resource)


def test_the_role_can_decrypt_only_with_the_users_kms_key(aws, deploy):
    key, other = [aws.kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]
    stack = deploy(WebhookSecret=KEY, EnvironmentKmsKeyArn=key)
    assert stack.decision("kms:Decrypt", key) == "allowed"
    assert stack.decision("kms:Decrypt", other) == "implicitDeny"
    assert stack.decision("kms:GenerateDataKey", key) == "implicitDeny"
