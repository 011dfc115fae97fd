"""Deploys the package, uses it as the documentation says, and deletes it. Each test continues where the last one ended."""

import functools
import http.server
import json
import os
import secrets
import signal
import subprocess
import threading
import time
import zipfile

import boto3
import pytest
from botocore.config import Config

from tests.stack.journey import AWS, OPERATE, TEXT, eventually, pages

KEY, NEXT_KEY, STRANGERS_KEY = [f"whsec_{secrets.token_urlsafe(32)}" for _ in range(3)]
VIDEO = secrets.token_bytes(9_000_000)

only_on_aws = pytest.mark.skipif(not AWS, reason="no emulator does this: make stack ON=aws")


def test_a_key_that_is_too_short_fails_before_anything_is_created(journey):
    status, printed = journey.sam("deploy", "", "--parameter-overrides", "WebhookSecret=abc")
    assert status != 0
    assert "must be a Base64 key of at least 22 characters" in " ".join(printed.split())


def test_one_command_deploys_the_stack_without_a_question(journey):
    # AWS rejects any reservation in a new account.
    unreserved = boto3.client("lambda").get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    mail = {"AlarmMail": os.environ["MAIL"]} if "MAIL" in os.environ else {}
    reserved = {} if unreserved >= 110 else {"ReservedConcurrency": "none"}
    journey.stack = journey.deploy(WebhookSecret=KEY, **mail, **reserved)


def test_smoke_proves_that_the_key_works_and_says_that_nobody_subscribes(journey):
    status, printed = journey.stack.operate("smoke", KEY)
    assert status == 0, printed
    assert "no confirmed subscription" in printed
    status, printed = journey.stack.operate("smoke", STRANGERS_KEY)
    assert status != 0, printed


def test_a_queue_receives_what_pollo_signed_and_nothing_forged(journey):
    journey.queue = journey.deploy("-queue", "examples/subscribers/queue.yaml", WebhookStack=journey.name)
    assert journey.stack.send("forged", STRANGERS_KEY) == 401
    assert journey.stack.send("unsigned", KEY, headers={}) == 400
    with pytest.raises(boto3.client("sns").exceptions.AuthorizationErrorException):
        boto3.client("sns").publish(TopicArn=journey.stack.outputs["TopicArn"], Message="by an administrator")
    assert journey.stack.send("first", KEY) == 200
    [outcome] = journey.queue.outcomes("first")
    assert (json.loads(outcome["body"])["taskId"], outcome["status"]) == ("first", "succeed")
    assert journey.queue.received == [outcome]


def test_a_video_is_stored(journey):
    journey.videos = journey.deploy("-videos", "examples/subscribers/videos/template.yaml", WebhookStack=journey.name)
    bucket = boto3.resource("s3").Bucket(journey.videos.outputs["BucketName"])
    # The bucket stays when its stack is deleted.
    journey.undo.callback(bucket.delete)
    journey.undo.callback(bucket.objects.delete)
    bucket.put_object(Key="source.mp4", Body=VIDEO, ContentType="video/mp4")
    signer = boto3.client("s3", config=Config(signature_version="s3v4"))
    url = signer.generate_presigned_url("get_object", Params={"Bucket": bucket.name, "Key": "source.mp4"})
    assert journey.stack.send("video", KEY, [{"id": "g1", "status": "succeed", "url": url}]) == 200
    stored = eventually(lambda: [item for item in bucket.objects.all() if item.key == "video/g1.mp4"])
    assert stored[0].get()["Body"].read() == VIDEO


def test_replay_publishes_the_outcome_of_an_outage_byte_for_byte(journey):
    with journey.stack.outage():
        task = journey.stack.send_until(503, KEY)
    journey.stack.send_until(200, KEY)
    [line] = journey.stack.logged(task)
    for _ in range(2):
        status, printed = journey.stack.operate("replay", KEY)
        assert status == 0, printed
        assert [outcome["body"] for outcome in journey.queue.outcomes(task)] == [line["body"]]
        eventually(lambda: len(journey.stack.logged(task)) == 2)


def test_reconcile_publishes_what_never_arrived_and_does_so_once(journey, tmp_path):
    # A fake of Pollo's API, which knows one task.
    response = tmp_path / "v1" / "generation" / "lost" / "status"
    response.parent.mkdir(parents=True)
    response.write_text(json.dumps({"taskId": "lost", "credit": 1.5, "generations": TEXT}))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    (tmp_path / "tasks").write_text("first\nlost\n")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as pollo:
        threading.Thread(target=pollo.serve_forever, daemon=True).start()
        settings = {"TASKS": str(tmp_path / "tasks"), "POLLO_API_KEY": "key"}
        settings["POLLO_API_URL"] = f"http://127.0.0.1:{pollo.server_port}"
        for _ in range(2):
            status, printed = journey.stack.operate("reconcile", KEY, **settings)
            assert status == 0, printed
            [outcome] = journey.queue.outcomes("lost")
            assert outcome["webhookId"].startswith("reconciled-")
            journey.stack.logged("lost")
        pollo.shutdown()


def test_listen_shows_outcomes_and_removes_its_queue(journey):
    command, environment = [OPERATE, "-m", "operate.listen"], {**os.environ, "STACK": journey.name}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=journey.package, env=environment, **streams) as listener:
        assert listener.stdout.readline().startswith("Listening to arn:")
        assert journey.stack.send("heard", KEY) == 200
        assert "heard" in "".join(listener.stdout.readline() for _ in range(4))
        listener.send_signal(signal.SIGINT)
        assert "Removed the queue and its subscription." in listener.communicate()[0]
        assert listener.returncode == 0
    assert "-listen-" not in json.dumps(pages("sqs", "list_queues"))


def test_a_setting_lasts_and_an_update_keeps_settings_url_and_key(journey):
    before, url = journey.stack.function(), journey.stack.outputs["WebhookUrl"]
    journey.deploy(ToleranceSeconds="600", SilenceHours="24")
    with zipfile.ZipFile(journey.package / "bootstrap.zip", "a") as function:
        function.writestr("next-version", "")
    journey.stack = journey.deploy()
    function = journey.stack.function()
    assert function["CodeSha256"] != before["CodeSha256"]
    assert function["Environment"]["Variables"]["WEBHOOK_TOLERANCE_SECONDS"] == "600"
    assert journey.stack.outputs["WebhookUrl"] == url
    assert journey.stack.send("updated", KEY) == 200


def test_a_key_is_rotated_moved_to_secrets_manager_and_back(journey):
    manager, name = boto3.client("secretsmanager"), f"{journey.name}-key"
    manager.create_secret(Name=name, SecretString=NEXT_KEY)
    journey.undo.callback(manager.delete_secret, SecretId=name, ForceDeleteWithoutRecovery=True)
    version = manager.put_secret_value(SecretId=name, SecretString=f"{KEY} {NEXT_KEY}")["VersionId"]
    manager.put_secret_value(SecretId=name, SecretString=NEXT_KEY)
    for parameters, statuses in [
        ({"WebhookSecret": f"{KEY},{NEXT_KEY}"}, [200, 200]),
        ({"WebhookSecret": "", "WebhookSecretName": name}, [401, 200]),
        ({"WebhookSecretVersion": version}, [200, 200]),
        ({"WebhookSecret": KEY, "WebhookSecretName": "", "WebhookSecretVersion": ""}, [200, 401]),
    ]:
        journey.deploy(**parameters)
        assert [journey.stack.send("rotated", key) for key in [KEY, NEXT_KEY]] == statuses, parameters.keys()


def test_a_fifo_topic_delivers_to_a_fifo_queue(journey):
    stack = journey.deploy("-fifo", WebhookSecret=KEY, TopicType="fifo", ReservedConcurrency="none")
    settings = {"WebhookStack": stack.name, "TopicType": "fifo"}
    queue = journey.deploy("-fifo-queue", "examples/subscribers/queue.yaml", **settings)
    assert [stack.send("twice", KEY), stack.send("twice", KEY)] == [200, 200]
    assert queue.outcomes("twice")
    # The emulator's CloudFormation makes a topic that does not drop the second one.
    assert len(queue.outcomes("twice")) == 1 or not AWS


@only_on_aws
def test_a_forged_webhook_has_raised_the_alarm_and_the_alarm_topic_was_told(journey):
    resource = {"StackName": journey.name, "LogicalResourceId": "WrongSignatures"}
    alarm = boto3.client("cloudformation").describe_stack_resource(**resource)["StackResourceDetail"]
    actions = {"AlarmName": alarm["PhysicalResourceId"], "HistoryItemType": "Action"}
    journey.stack.send("forged", STRANGERS_KEY)
    eventually(lambda: "Successfully executed action" in str(pages("cloudwatch", "describe_alarm_history", **actions)))


@only_on_aws
def test_a_masked_log_is_replayed_unmasked(journey):
    group, masked = journey.stack.outputs["LogGroupName"], {"mediaType": "text", "url": "somebody@example.com"}
    identifier = {"DataIdentifier": ["arn:aws:dataprotection::aws:data-identifier/EmailAddress"]}
    audit, mask = {"Audit": {"FindingsDestination": {}}}, {"Deidentify": {"MaskConfig": {}}}
    statements = [{**identifier, "Operation": audit, "Sid": "a"}, {**identifier, "Operation": mask, "Sid": "m"}]
    policy = json.dumps({"Name": "mask", "Version": "2021-06-01", "Statement": statements})
    boto3.client("logs").put_data_protection_policy(logGroupIdentifier=group, policyDocument=policy)
    with journey.stack.outage():
        task = journey.stack.send_until(503, KEY, masked)
    journey.stack.send_until(200, KEY)
    assert "***" in json.dumps(journey.stack.logged(task))
    status, printed = journey.stack.operate("replay", KEY)
    assert status == 0, printed
    assert json.loads(journey.queue.outcomes(task)[0]["body"])["generations"][1] == masked


@only_on_aws
def test_keys_of_the_user_encrypt_the_environment_and_the_topic(journey):
    kms = boto3.client("kms")
    key = kms.create_key(Description=journey.name)["KeyMetadata"]
    journey.undo.callback(kms.schedule_key_deletion, KeyId=key["KeyId"], PendingWindowInDays=7)
    journey.deploy(EnvironmentKmsKeyArn=key["Arn"], TopicKmsKeyArn=key["Arn"])
    assert journey.queue.outcomes(journey.stack.send_until(200, KEY))
    journey.deploy(EnvironmentKmsKeyArn="", TopicKmsKeyArn="")


@only_on_aws
def test_a_message_in_the_dead_letter_queue_goes_back(journey):
    sqs, outputs = boto3.client("sqs"), journey.queue.outputs
    assert journey.stack.send("put-aside", KEY) == 200

    def put_aside():
        sqs.receive_message(QueueUrl=outputs["QueueUrl"], VisibilityTimeout=0, WaitTimeSeconds=1)
        return sqs.receive_message(QueueUrl=outputs["DeadLetterQueueUrl"], VisibilityTimeout=0).get("Messages")

    eventually(put_aside)
    sqs.start_message_move_task(SourceArn=outputs["DeadLetterQueueArn"], DestinationArn=outputs["QueueArn"])
    assert journey.queue.outcomes("put-aside")


@only_on_aws
def test_the_times_of_a_start_and_of_sns_are_measured(journey):
    functions, name = boto3.client("lambda"), {"FunctionName": journey.stack.outputs["FunctionName"]}
    # Lambda's own lines have the time of a start. A new setting ends the running processes.
    log = {"LogFormat": "JSON", "SystemLogLevel": "INFO", "LogGroup": journey.stack.outputs["LogGroupName"]}
    functions.update_function_configuration(**name, LoggingConfig=log)
    functions.get_waiter("function_updated_v2").wait(**name)
    for kind in ["first", "second", "third"]:
        began = time.monotonic()
        assert journey.stack.send(f"{kind}-webhook", KEY) == 200
        journey.times.append((f"{kind} webhook after a start, seen from here", time.monotonic() - began))
    [start] = eventually(lambda: [line for line in journey.stack.log() if "initDurationMs" in json.dumps(line)])
    journey.times.append(("init", start["record"]["metrics"]["initDurationMs"] / 1000))
    slowest = max(line["snsMilliseconds"] for line in journey.stack.log() if "snsMilliseconds" in line)
    journey.times.append(("slowest response of SNS", slowest / 1000))


def test_everything_is_deleted_and_nothing_is_left(journey):
    journey.undo.close()
    eventually(lambda: journey.left() == [])
