"""The template tried whole, on an emulator of AWS: built, deployed, called, changed and taken down: `make stack`.

The emulator (ministack) takes requests over TLS alone and holds every call of the function against the policies of its
role and of the topic. It runs the function without Docker, behind its URL.

What it cannot do, so that nothing of it is shown here: mail, X-Ray, alarms that go off, metrics, encryption, moving
messages back from a dead-letter queue, and the reserved concurrency of a real account.
"""

import contextlib
import hashlib
import http.client
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pexpect
from botocore.exceptions import ClientError

from local import emulators
from local.emulators import ADDRESS, CHECKOUT, KEY, PATIENCE, TOOLS
from operate.pollo import NOBODYS_KEY, Webhook
from tests import operations
from tests.certificate import self_signed_certificate
from tests.leaks import leaks

AWS = CHECKOUT / ".tools" / "aws" / "bin" / "ministack"
SAM = TOOLS / "sam"
BUILT = CHECKOUT / ".aws-sam" / "build" / "Function" / "bootstrap"
SUBSCRIBERS = CHECKOUT / "examples" / "subscribers"
ACCOUNT = "123456789012"
REGION = "us-east-1"
OTHER_ACCOUNT = "210987654321"
THIRD_ACCOUNT = "333333333333"
QUOTES = '""'

OTHER_KEY = "YW5vdGhlciBrZXkgb2YgUG9sbG8ncw=="
SUCCESS = b'{"taskId":"cm9ap1d4e0001","status":"succeed","credit":12}'
FAILURE = b'{"taskId":"cm9ap1d4e0001","status":"failed"}'


def setUpModule():
    global folder, port, trusted
    stack = contextlib.ExitStack()
    unittest.addModuleCleanup(stack.close)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    trusted, key = self_signed_certificate(folder)
    port = emulators.free_port()
    url = f"https://{ADDRESS}:{port}"
    # The function inherits it, but for its settings, its credentials and the address of the emulator.
    environment = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(folder),
        "BIND_HOST": ADDRESS,
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "AUTH": "true",
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(trusted),
        "MINISTACK_SSL_KEY": str(key),
        "AWS_ENDPOINT_URL": url,
        "SSL_CERT_FILE": str(trusted),
    }
    stack.enter_context(emulators.emulator("AWS", port, [AWS], env=environment))
    os.environ.update(
        AWS_ENDPOINT_URL=url,
        AWS_CA_BUNDLE=str(trusted),
        # The emulator takes them for those of the account's root.
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_DEFAULT_REGION=REGION,
        SAM_CLI_TELEMETRY="0",
        PATH=f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
    )
    global cloudformation, functions, iam, kms, logs, secretsmanager, sns, sqs
    cloudformation, functions, iam, kms, logs, secretsmanager, sns, sqs = map(
        boto3.client, ["cloudformation", "lambda", "iam", "kms", "logs", "secretsmanager", "sns", "sqs"]
    )
    run(SAM, "build")


def run(*words, **options):
    """Runs a command that must succeed. Gives what it prints."""
    ran = attempt(*words, **options)
    if ran.returncode != 0:
        raise AssertionError(f"{words} ended with {ran.returncode}:\n{ran.stdout}")
    return ran.stdout


def attempt(*words, cwd=CHECKOUT, account="test", **variables):
    command = [str(word) for word in words]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "AWS_ACCESS_KEY_ID": account, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def deploy_words(name, template, parameters):
    words = [SAM, "deploy", "--stack-name", name, "--no-confirm-changeset", "--region", REGION]
    if template:
        words += ["-t", template, "--capabilities", "CAPABILITY_IAM"]
    if parameters:
        # SAM wants quotes around nothing.
        words += ["--parameter-overrides", *(f"{key}={value or QUOTES}" for key, value in parameters.items())]
    return words


class Checkout:
    """What SAM deploys from, with a samconfig.toml of its own, because SAM writes into it."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.config = self.folder / "samconfig.toml"
        for name in ["template.yaml", "samconfig.toml"]:
            shutil.copyfile(CHECKOUT / name, self.folder / name)
        shutil.copytree(CHECKOUT / ".aws-sam", self.folder / ".aws-sam")
        self.versions = 0

    def guided(self, **answers):
        """Deploys with `sam deploy --guided`, and with those answers for the parameters."""
        command = [str(SAM), ["deploy", "--guided"]]
        sam = pexpect.spawn(*command, cwd=self.folder, encoding="utf-8", timeout=PATIENCE, dimensions=(50, 300))
        for question, reply in [
            *((f"Parameter {name}.*: ", value) for name, value in answers.items()),
            ("Confirm changes before deploy.*: ", ""),
            ("Disable rollback.*: ", ""),
            ("has no authentication. Is this okay.*: ", "y"),
            ("SAM configuration environment.*: ", ""),
            ("Deploy this changeset.*: ", "y"),
        ]:
            # Whatever is asked in between is answered as SAM proposes.
            while sam.expect([question, r"\]\S*: "]) == 1:
                sam.sendline("")
            sam.sendline(reply)
        sam.expect("Successfully created/updated stack - pollo-webhook")
        sam.expect(pexpect.EOF)

    def edit(self, **settings):
        """Changes values in samconfig.toml, as a user does in an editor."""
        text = self.config.read_text()
        for name, value in settings.items():
            text, edits = re.subn(rf'\b{name}=\\"[^"\\]*\\"', rf'{name}=\\"{value}\\"', text)
            if edits != 1:
                raise AssertionError(f"{name} stands {edits} times in {text}")
        self.config.write_text(text)

    def deploy(self, **overrides):
        """`sam deploy`, with `overrides` on the command line if there are any."""
        words = [f"{key}={value or QUOTES}" for key, value in overrides.items()]
        run(
            SAM,
            "deploy",
            "--no-confirm-changeset",
            *(["--parameter-overrides", *words] if words else []),
            cwd=self.folder,
        )

    def update(self):
        """`sam build`, of a new version, and `sam deploy`."""
        self.versions += 1
        (self.folder / ".aws-sam" / "build" / "Function" / "version").write_text(f"{self.versions}")
        self.deploy()


def archives():
    """What SAM has uploaded: pairs of bucket and key."""
    s3 = boto3.client("s3")
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    return [(name, item["Key"]) for name in buckets for item in s3.list_objects_v2(Bucket=name).get("Contents", [])]


def inventory():
    """What there is in the account, but for SAM's own bucket."""
    cloudwatch = boto3.client("cloudwatch")
    return {
        "alarms": [alarm["AlarmName"] for alarm in cloudwatch.describe_alarms()["MetricAlarms"]],
        "archives": archives(),
        "dashboards": [entry["DashboardName"] for entry in cloudwatch.list_dashboards()["DashboardEntries"]],
        "exports": [export["Name"] for export in cloudformation.list_exports()["Exports"]],
        "functions": [function["FunctionName"] for function in functions.list_functions()["Functions"]],
        "log groups": [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]],
        "metric filters": [filter["filterName"] for filter in logs.describe_metric_filters()["metricFilters"]],
        "queues": sqs.list_queues().get("QueueUrls", []),
        "roles": [role["RoleName"] for role in iam.list_roles()["Roles"]],
        "subscriptions": [entry["SubscriptionArn"] for entry in sns.list_subscriptions()["Subscriptions"]],
        "topics": [topic["TopicArn"] for topic in sns.list_topics()["Topics"]],
    }


class Deployed:
    """A stack that has been deployed."""

    def __init__(self, name, cloudformation=None):
        cloudformation = cloudformation or globals()["cloudformation"]
        self.name = name
        [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        self.resources = {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        }

    def send(self, webhook):
        return send(self.outputs["WebhookUrl"], webhook)

    def status(self, key, body=SUCCESS):
        return self.send(Webhook(body, key))[0]

    def setting(self, name):
        """A variable of the function's environment."""
        configuration = functions.get_function_configuration(FunctionName=self.outputs["FunctionName"])
        return configuration["Environment"]["Variables"][name]

    def answers(self):
        """The statuses of the answers to a webhook signed with the old key, and to one with the new."""
        return {"old": self.status(KEY), "new": self.status(OTHER_KEY)}

    def lines(self):
        """What the function has logged, without the platform's own lines."""
        events = logs.filter_log_events(logGroupName=self.outputs["LogGroupName"])["events"]
        for event in events:
            found = leaks(event["message"], {"WEBHOOK_SECRET": f"{KEY},{OTHER_KEY}"})
            if found:
                raise AssertionError(f"{found} must not be in the log")
        return [json.loads(event["message"]) for event in events if event["message"].startswith("{")]


def alarms(stack):
    """The alarms of a stack by their names in the template."""
    resources = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    names = {resource["PhysicalResourceId"]: resource["LogicalResourceId"] for resource in resources}
    found = boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]
    return {names[alarm["AlarmName"]]: alarm for alarm in found if alarm["AlarmName"] in names}


def dimension(alarm):
    [dimension] = alarm["Dimensions"]
    return dimension["Name"], dimension["Value"]


def send(url, webhook):
    """Sends a webhook to a function's URL. Gives the answer's status and its body."""
    context = ssl.create_default_context(cafile=trusted)
    connection = http.client.HTTPSConnection(ADDRESS, port, timeout=PATIENCE, context=context)
    with contextlib.closing(connection):
        connection.request("POST", "/", webhook.body, {"Host": urlsplit(url).netloc, **webhook.headers()})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def take(url, expected, client=None):
    """Takes `expected` messages out of a queue, and looks whether there are more: pairs of body and attributes."""
    queue, messages, deadline = emulators.Queue(url, url, client or sqs), [], time.monotonic() + PATIENCE
    while True:
        messages += queue.take()
        if len(messages) >= expected or time.monotonic() > deadline:
            return messages


class Stack(unittest.TestCase):
    def setUp(self):
        self.before = inventory()
        self.deployed = []
        self.addCleanup(self.assert_nothing_left)

    def assert_nothing_left(self):
        self.assertEqual(inventory(), self.before)

    def deploy(self, name="pollo-webhook", template=None, **parameters):
        """Deploys a stack, or changes it, as a user does. It goes when the test ends, and leaves nothing."""
        run(*deploy_words(name, template, parameters))
        return self.take_over(name)

    def take_over(self, name):
        if name not in self.deployed:
            self.deployed.append(name)
            self.addCleanup(run, SAM, "delete", "--stack-name", name, "--no-prompts", "--region", REGION)
        stack = Deployed(name)
        if "TopicPolicy" in stack.resources:
            self.let_the_role_publish(stack)
        return stack

    def let_the_role_publish(self, stack):
        """On AWS, aws:PrincipalArn is the ARN of the role; the emulator has that of its session in it."""
        topic, role = stack.outputs["TopicArn"], stack.resources["Role"]
        policy = sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
        policy = policy.replace(f"arn:aws:iam::{ACCOUNT}:role/{role}", f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/*")
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)

    def test_an_outcome_goes_to_its_subscribers_and_a_forged_one_to_none(self):
        stack = self.deploy(WebhookSecret=KEY)
        queue = self.deploy("queue", SUBSCRIBERS / "queue.yaml")
        function = self.deploy("function", SUBSCRIBERS / "function.yaml")
        mail = self.deploy("mail", SUBSCRIBERS / "mail.yaml", Address="somebody@example.com")

        success = Webhook(SUCCESS, KEY)
        status, answer = stack.send(success)
        self.assertEqual((status, list(answer)), (200, ["messageId"]))
        self.assertEqual(stack.status(KEY, FAILURE), 200)
        self.assertEqual(stack.send(Webhook(SUCCESS, NOBODYS_KEY)), (401, {"error": "signature does not match"}))

        attributes = {
            "status": "succeed",
            "taskId": "cm9ap1d4e0001",
            "webhookId": success.id,
            "webhookTimestamp": success.timestamp,
        }
        self.assertEqual(take(queue.outputs["QueueUrl"], 1), [(SUCCESS.decode(), attributes)])
        deadline = time.monotonic() + PATIENCE
        while not function.lines() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(function.lines(), [{"taskId": "cm9ap1d4e0001", "status": "succeed"}])
        for subscriber in [queue, function, mail]:
            self.assertEqual(take(subscriber.outputs["DeadLetterQueueUrl"], 0), [])
        [subscription] = [
            entry
            for entry in sns.list_subscriptions_by_topic(TopicArn=stack.outputs["TopicArn"])["Subscriptions"]
            if entry["Protocol"] == "email"
        ]
        self.assertEqual(subscription["Endpoint"], "somebody@example.com")
        self.assertEqual([line["result"] for line in stack.lines()], ["published", "published", "signature_mismatch"])

    def operate(self, command, stack, **variables):
        """Runs an operator's command on `stack`. Gives its exit status and what it prints."""
        # The emulator's own form of a function's URL, which needs no name to resolve.
        function = urlsplit(stack.outputs["WebhookUrl"]).netloc.partition(".")[0]
        url = f"https://{ADDRESS}:{port}/_aws/lambda-url/{function}/"
        settings = {"STACK": stack.name, "URL": url, "YES": "1", "WEBHOOK_SECRET": KEY, "SSL_CERT_FILE": str(trusted)}
        ran = attempt(sys.executable, "-m", f"operate.{command}", **{**settings, **variables})
        return ran.returncode, ran.stdout

    def test_one_command_brings_back_what_an_outage_and_a_late_retry_have_left_in_the_log(self):
        stack = self.deploy(WebhookSecret=KEY)
        queue = self.deploy("queue", SUBSCRIBERS / "queue.yaml")
        topic = stack.outputs["TopicArn"]
        working = sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
        denied = policy({"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": topic})
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=denied)
        video = b'{"taskId":"cm9\\\\1","status":"succeed",\n"generations":[{"url":"https:\\/\\/a.example\\/1.mp4"}]}'
        for _ in range(11):
            self.assertEqual(stack.status(KEY, video), 503)
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=working)
        other = b'{"taskId":"cm9ap1d4e0002","status":"succeed"}'
        late = Webhook(other, KEY, timestamp=str(int(time.time()) - 3600))
        self.assertEqual(stack.send(late)[0], 401)
        self.assertEqual(stack.status(KEY, b'{"taskId":"t1","status":"paused"}'), 422)
        self.assertEqual(stack.status(KEY), 200)
        self.assertEqual(len(take(queue.outputs["QueueUrl"], 1)), 1)

        status, shown = self.operate("replay", stack, DRY="1")
        self.assertEqual(status, 0, shown)
        self.assertRegex(shown, r"not_published \(AuthorizationError\) +11 ")
        status, replayed = self.operate("replay", stack)
        self.assertEqual((status, replayed.splitlines()[-1]), (1, "Published 2 of 3."), replayed)
        bodies = [body for body, _ in take(queue.outputs["QueueUrl"], 2)]
        self.assertCountEqual(bodies, [video.decode(), other.decode()])
        status, again = self.operate("replay", stack, DRY="1")
        self.assertNotIn("not_published", again)
        self.assertNotIn("timestamp_outside_tolerance", again)

    def test_the_smoke_test_of_a_stack_says_what_is_wrong_with_it(self):
        stack = self.deploy(WebhookSecret=KEY)
        status, output = self.operate("smoke", stack)
        self.assertEqual(status, 0, output)
        self.assertIn("no confirmed subscription", output)
        status, output = self.operate("smoke", stack, WEBHOOK_SECRET=OTHER_KEY)
        self.assertNotEqual(status, 0)
        self.assertIn("The key is not one of the function's", output)
        topic = stack.outputs["TopicArn"]
        denied = policy({"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": topic})
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=denied)
        status, output = self.operate("smoke", stack)
        self.assertNotEqual(status, 0)
        self.assertIn("AuthorizationError", output)

    def test_a_fifo_topic_delivers_each_outcome_once_to_queues_of_both_types(self):
        stack = self.deploy("fifo", WebhookSecret=KEY, TopicType="fifo", ReservedConcurrency="none")
        # The emulator's CloudFormation forgets it.
        sns.set_topic_attributes(TopicArn=stack.outputs["TopicArn"], AttributeName="FifoTopic", AttributeValue="true")
        queues = [
            self.deploy(f"{kind}-queue", SUBSCRIBERS / "queue.yaml", WebhookStack="fifo", QueueType=kind)
            for kind in ["standard", "fifo"]
        ]
        self.assertEqual([stack.status(KEY) for _ in range(3)], [200, 200, 200])
        for queue in queues:
            self.assertEqual([body for body, _ in take(queue.outputs["QueueUrl"], 1)], [SUCCESS.decode()])

    def test_an_account_that_is_named_may_subscribe_and_another_may_not(self):
        stack = self.deploy(WebhookSecret=KEY, SubscriberAccounts=f"{ACCOUNT[::-1]},{OTHER_ACCOUNT}")
        topic = stack.outputs["TopicArn"]
        run(*deploy_words("queue", SUBSCRIBERS / "queue.yaml", {"TopicArn": topic}), account=OTHER_ACCOUNT)
        # The emulator takes an access key of twelve digits for that of an account's root.
        other, third = [boto3.Session(account, "test") for account in [OTHER_ACCOUNT, THIRD_ACCOUNT]]
        queue = Deployed("queue", other.client("cloudformation")).outputs
        # Its CloudFormation subscribes to no topic of another account. Its SNS does.
        subscription = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue["QueueArn"]}
        raw = {"RawMessageDelivery": "true"}
        with self.assertRaisesRegex(ClientError, "not authorized to perform: sns:Subscribe"):
            third.client("sns").subscribe(**subscription, Attributes=raw)
        self.assertEqual(stack.status(KEY), 200)
        other.client("sns").subscribe(**subscription, Attributes=raw)
        self.assertEqual(stack.status(KEY, FAILURE), 200)
        messages = take(queue["QueueUrl"], 1, other.client("sqs"))
        self.assertEqual([body for body, _ in messages], [FAILURE.decode()])
        with self.assertRaisesRegex(ClientError, "not authorized to perform: sns:Publish"):
            other.client("sns").publish(TopicArn=topic, Message=SUCCESS.decode())

    def test_an_http_api_takes_the_place_of_the_url(self):
        template = Checkout().folder / "http-api.yaml"
        template.write_text(operations.template_with_http_api().replace("CodeUri: .", f"CodeUri: {BUILT.parent}"))
        stack = self.deploy("http-api", template, WebhookSecret=KEY)
        self.assertNotIn("FunctionUrl", stack.resources)
        # The emulator's CloudFormation does not read the OpenAPI document in which SAM writes this.
        gateway, api = boto3.client("apigatewayv2"), stack.resources["ServerlessHttpApi"]
        function = functions.get_function(FunctionName=stack.outputs["FunctionName"])["Configuration"]["FunctionArn"]
        integration = gateway.create_integration(
            ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
        )["IntegrationId"]
        gateway.create_route(ApiId=api, RouteKey="POST /", Target=f"integrations/{integration}")
        url = stack.outputs["WebhookUrl"]
        self.assertEqual(url, f"https://{api}.execute-api.us-east-1.amazonaws.com/")
        # Here, its APIs are called so.
        url = url.replace("us-east-1.amazonaws.com", "localhost")
        self.assertEqual(send(url, Webhook(SUCCESS, KEY))[0], 200)
        self.assertEqual(send(url, Webhook(SUCCESS, NOBODYS_KEY)), (401, {"error": "signature does not match"}))
        self.assertEqual([line["result"] for line in stack.lines()], ["published", "signature_mismatch"])

    def test_an_event_of_another_format_fails_and_says_so(self):
        stack = self.deploy(WebhookSecret=KEY)

        def invoke(event):
            return functions.invoke(FunctionName=stack.outputs["FunctionName"], Payload=json.dumps(event))

        def sample(*words):
            return json.loads(run(SAM, "local", "generate-event", *words))

        # The format of a function URL and of an HTTP API: a request without Pollo's headers.
        accepted = invoke(sample("apigateway", "http-api-proxy"))
        self.assertNotIn("FunctionError", accepted)
        self.assertEqual(json.loads(accepted["Payload"].read())["statusCode"], 400)
        rest = sample("apigateway", "aws-proxy")
        for event in [rest, {"version": "1.0", **rest}, sample("alb", "request")]:
            self.assertEqual(invoke(event)["FunctionError"], "Unhandled", event)
        first, *others = stack.lines()
        self.assertEqual(first["result"], "header_missing")
        self.assertEqual(len(others), 3)
        for line in others:
            self.assertNotIn("result", line)
            self.assertLessEqual({"message", "error"}, set(line))

    def test_a_topic_that_exists_is_used_and_none_is_created(self):
        topic = sns.create_topic(Name="mine")["TopicArn"]
        self.addCleanup(sns.delete_topic, TopicArn=topic)
        key = kms.create_key()["KeyMetadata"]["Arn"]
        stack = self.deploy(
            "existing", WebhookSecret=KEY, ExistingTopicArn=topic, TopicKmsKeyArn=key, ReservedConcurrency="none"
        )
        self.assertNotIn("Topic", stack.resources)
        self.assertEqual(stack.outputs["TopicArn"], topic)
        queue = self.deploy("queue", SUBSCRIBERS / "queue.yaml", WebhookStack="existing")
        self.assertEqual(stack.status(KEY), 200)
        self.assertEqual([body for body, _ in take(queue.outputs["QueueUrl"], 1)], [SUCCESS.decode()])
        self.assertEqual(dimension(alarms("existing")["UndeliveredOutcomes"]), ("TopicName", "mine"))

    def test_every_alarm_of_a_stack_and_of_its_subscribers_goes_to_one_topic(self):
        stack = self.deploy(WebhookSecret=KEY, AlarmMail="somebody@example.com", CreateDashboard="true")
        topic = stack.outputs["AlarmTopicArn"]
        self.assertEqual(topic, stack.resources["AlarmTopic"])
        [subscription] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        self.assertEqual((subscription["Protocol"], subscription["Endpoint"]), ("email", "somebody@example.com"))
        self.deploy("queue", SUBSCRIBERS / "queue.yaml")
        self.deploy("function", SUBSCRIBERS / "function.yaml")
        self.deploy("mail", SUBSCRIBERS / "mail.yaml", Address="somebody@example.com")
        found = {name: alarms(name) for name in ["pollo-webhook", "queue", "function", "mail"]}
        self.assertEqual([len(alarms) for alarms in found.values()], [6, 2, 1, 1])
        for alarm in [alarm for alarms in found.values() for alarm in alarms.values()]:
            self.assertEqual(alarm["AlarmActions"], [topic], alarm["AlarmName"])
        name = dimension(found["pollo-webhook"]["UndeliveredOutcomes"])
        self.assertEqual(name, ("TopicName", stack.outputs["TopicArn"].rpartition(":")[2]))
        dashboard = boto3.client("cloudwatch").get_dashboard(DashboardName=stack.resources["Dashboard"])
        shown = json.loads(dashboard["DashboardBody"])["widgets"][0]["properties"]["alarms"]
        self.assertCountEqual(shown, [alarm["AlarmArn"] for alarm in found["pollo-webhook"].values()])

    def test_alarms_go_to_a_topic_that_exists_and_silence_is_one_of_them_if_asked_for(self):
        topic = sns.create_topic(Name="pages")["TopicArn"]
        self.addCleanup(sns.delete_topic, TopicArn=topic)
        stack = self.deploy(WebhookSecret=KEY, AlarmTopicArn=topic, SilenceHours="24", UnverifiedThreshold="5")
        self.assertEqual(stack.outputs["AlarmTopicArn"], topic)
        self.assertNotIn("AlarmTopic", stack.resources)
        found = alarms("pollo-webhook")
        self.assertEqual(len(found), 7)
        for alarm in found.values():
            self.assertEqual(alarm["AlarmActions"], [topic])
        silence = found["Silence"]
        self.assertEqual((silence["Period"] * silence["EvaluationPeriods"]) / 3600, 24)
        self.assertEqual(found["UnverifiedWebhooks"]["Threshold"], 5)

    def test_the_role_may_decrypt_its_environment_with_the_key_of_the_user_and_no_other(self):
        key, other = [kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]
        stack = self.deploy(WebhookSecret=KEY, EnvironmentKmsKeyArn=key)
        role = iam.get_role(RoleName=stack.resources["Role"])["Role"]["Arn"]
        self.assert_decisions(
            role,
            [
                ("kms:Decrypt", key, "allowed"),
                ("kms:Decrypt", other, "implicitDeny"),
                ("kms:GenerateDataKey", key, "implicitDeny"),
            ],
        )

    def test_a_setting_lasts_if_it_is_in_samconfig_toml_and_not_if_it_is_on_the_command_line(self):
        checkout = Checkout()
        checkout.guided(WebhookSecret=KEY, ToleranceSeconds="600")
        stack = self.take_over("pollo-webhook")
        self.assertEqual(stack.setting("WEBHOOK_TOLERANCE_SECONDS"), "600")
        checkout.edit(ToleranceSeconds="259200")
        checkout.deploy()
        self.assertEqual(stack.setting("WEBHOOK_TOLERANCE_SECONDS"), "259200")
        checkout.update()
        self.assertEqual(stack.setting("WEBHOOK_TOLERANCE_SECONDS"), "259200")
        checkout.deploy(ToleranceSeconds="60")
        self.assertEqual(stack.setting("WEBHOOK_TOLERANCE_SECONDS"), "60")
        checkout.update()
        self.assertEqual(stack.setting("WEBHOOK_TOLERANCE_SECONDS"), "259200")

    def test_the_key_is_changed_without_a_gap_and_stays_changed(self):
        checkout = Checkout()
        checkout.guided(WebhookSecret=KEY)
        stack = self.take_over("pollo-webhook")
        self.assertEqual(stack.answers(), {"old": 200, "new": 401})
        for keys, expected in [
            (f"{KEY},{OTHER_KEY}", {"old": 200, "new": 200}),
            (OTHER_KEY, {"old": 401, "new": 200}),
        ]:
            checkout.deploy(WebhookSecret=keys)
            self.assert_answers_and_updates(stack, checkout, expected)

    def test_the_key_moves_to_secrets_manager_and_back_and_every_update_works(self):
        secret = self.secret(KEY)
        checkout = Checkout()
        checkout.guided(WebhookSecret=OTHER_KEY)
        stack = self.take_over("pollo-webhook")
        self.assertEqual(stack.answers(), {"old": 401, "new": 200})

        checkout.edit(WebhookSecretName="pollo-webhook-key")
        checkout.deploy(WebhookSecret="", WebhookSecretName="pollo-webhook-key")
        self.assert_answers_and_updates(stack, checkout, {"old": 200, "new": 401})
        for value, expected in [
            (f"{KEY},{OTHER_KEY}", {"old": 200, "new": 200}),
            (OTHER_KEY, {"old": 401, "new": 200}),
        ]:
            version = secretsmanager.put_secret_value(SecretId=secret, SecretString=value)["VersionId"]
            checkout.edit(WebhookSecretVersion=version)
            checkout.deploy()
            self.assert_answers_and_updates(stack, checkout, expected)

        checkout.edit(WebhookSecretName="", WebhookSecretVersion="")
        checkout.deploy(WebhookSecret=KEY, WebhookSecretName="", WebhookSecretVersion="")
        self.assert_answers_and_updates(stack, checkout, {"old": 200, "new": 401})

    def assert_answers_and_updates(self, stack, checkout, expected):
        self.assertEqual(stack.answers(), expected)
        checkout.update()
        self.assertEqual(stack.answers(), expected)

    def secret(self, key):
        """Puts `key` into Secrets Manager. Gives the ARN of the secret."""
        secret = secretsmanager.create_secret(Name="pollo-webhook-key", SecretString=key)["ARN"]
        self.addCleanup(secretsmanager.delete_secret, SecretId=secret, ForceDeleteWithoutRecovery=True)
        return secret

    def test_the_key_is_in_secrets_manager_from_the_start(self):
        self.secret(KEY)
        checkout = Checkout()
        section = "[default.deploy.parameters]\n"
        settings = f"{section}{operations.settings_with_secrets_manager()}\n"
        checkout.config.write_text(checkout.config.read_text().replace(section, settings))
        checkout.deploy()
        self.assertEqual(self.take_over("pollo-webhook").answers(), {"old": 200, "new": 401})

    def test_keys_may_be_on_lines_of_their_own(self):
        stack = self.deploy(WebhookSecret=f"{KEY}\n{OTHER_KEY}")
        self.assertEqual(stack.answers(), {"old": 200, "new": 200})

    def test_a_key_given_twice_or_not_at_all_is_refused_with_a_sentence(self):
        for parameters, sentence in [
            ({}, "Set exactly one of WebhookSecret and WebhookSecretName"),
            ({"WebhookSecret": KEY, "WebhookSecretName": "pollo-webhook-key"}, "Set exactly one of WebhookSecret and"),
            ({"WebhookSecret": KEY, "WebhookSecretVersion": "1"}, "WebhookSecretVersion needs WebhookSecretName"),
            ({"WebhookSecret": "not%Base64"}, "must be a Base64 key, or several Base64 keys"),
            ({"WebhookSecret": KEY, "ExistingTopicArn": "mine"}, "must be the ARN of an SNS topic"),
        ]:
            refused = attempt(*deploy_words("refused", None, parameters))
            self.assertNotEqual(refused.returncode, 0, refused.stdout)
            self.assertIn(sentence, " ".join(refused.stdout.split()))
            self.assertNotIn(KEY, refused.stdout)
        # There is no stack with which what was uploaded could go.
        for bucket, key in archives():
            boto3.client("s3").delete_object(Bucket=bucket, Key=key)

    def test_nobody_but_the_function_publishes_and_the_function_does_nothing_else(self):
        stack = self.deploy(WebhookSecret=KEY)
        topic = stack.outputs["TopicArn"]
        with self.assertRaisesRegex(sns.exceptions.AuthorizationErrorException, "not authorized to perform"):
            sns.publish(TopicArn=topic, Message=SUCCESS.decode())
        role = iam.get_role(RoleName=stack.resources["Role"])["Role"]["Arn"]
        group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:"
        self.assert_decisions(
            role,
            [
                ("sns:Publish", topic, "allowed"),
                ("sns:Publish", topic + "2", "implicitDeny"),
                ("sns:Subscribe", topic, "implicitDeny"),
                ("logs:PutLogEvents", f"{group}/aws/lambda/pollo-webhook:log-stream:1", "allowed"),
                ("logs:PutLogEvents", f"{group}/aws/lambda/other:log-stream:1", "implicitDeny"),
                ("logs:DeleteLogGroup", f"{group}/aws/lambda/pollo-webhook:*", "implicitDeny"),
                ("kms:Decrypt", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1", "implicitDeny"),
            ],
        )

    def assert_decisions(self, role, decisions):
        """What the policies of `role` decide: triples of an action, a resource and the decision."""
        for action, resource, expected in decisions:
            [result] = iam.simulate_principal_policy(
                PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource]
            )["EvaluationResults"]
            self.assertEqual(result["EvalDecision"], expected, (action, resource))

    def test_what_was_built_is_what_runs_on_its_architecture_and_an_event_that_breaks_a_dependency_does_not_end_it(
        self,
    ):
        stack = self.deploy(WebhookSecret=KEY)
        name = stack.outputs["FunctionName"]
        deployed = functions.get_function(FunctionName=name)
        [architecture] = deployed["Configuration"]["Architectures"]
        location = urlsplit(deployed["Code"]["Location"])
        # The emulator says http and takes https.
        location = location._replace(scheme="https", netloc=f"{ADDRESS}:{port}").geturl()
        with urllib.request.urlopen(location, context=ssl.create_default_context(cafile=trusted)) as answer:
            archive = answer.read()
        bootstrap = zipfile.ZipFile(io.BytesIO(archive)).read("bootstrap")
        # The header of an ELF file names the machine at byte 18.
        self.assertEqual(bootstrap[18:20], {"x86_64": b"\x3e\x00", "arm64": b"\xb7\x00"}[architecture])
        self.assertEqual(hashlib.sha256(bootstrap).digest(), hashlib.sha256(BUILT.read_bytes()).digest())
        print(f"bootstrap: {len(bootstrap):,} bytes, archive: {len(archive):,} bytes ...", end=" ", flush=True)

        event = json.loads((CHECKOUT / "events/base64-body.json").read_text())
        event["body"] = "not Base64%"
        broken = functions.invoke(FunctionName=name, Payload=json.dumps(event))
        self.assertEqual(broken["FunctionError"], "Unhandled")
        self.assertEqual(stack.status(KEY), 200)
        self.assertEqual([line["result"] for line in stack.lines()], ["panic", "published"])

    def test_three_commands_and_the_key_are_all_it_takes(self):
        checkout = Checkout()
        checkout.guided(WebhookSecret=KEY)
        self.assertNotIn(KEY, checkout.config.read_text())
        stack = self.take_over("pollo-webhook")
        self.assertEqual((stack.status(KEY), stack.status(NOBODYS_KEY)), (200, 401))

    def test_cargo_lambda_deploys_it_too(self):
        topic = sns.create_topic(Name="pollo-outcomes")["TopicArn"]
        self.addCleanup(sns.delete_topic, TopicArn=topic)
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName="by-hand", AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
        self.addCleanup(iam.delete_role, RoleName="by-hand")
        publish = {"Effect": "Allow", "Action": "sns:Publish", "Resource": topic}
        iam.put_role_policy(RoleName="by-hand", PolicyName="publish", PolicyDocument=policy(publish))
        self.addCleanup(iam.delete_role_policy, RoleName="by-hand", PolicyName="publish")
        settings = folder / "deploy.env"
        settings.write_text(f'WEBHOOK_SECRET="{KEY}"\nSNS_TOPIC_ARN={topic}\n')

        cargo_lambda = ["env", f"SSL_CERT_FILE={trusted}", TOOLS / "cargo-lambda", "lambda"]
        run(*cargo_lambda, "build", "--release", "--locked", "--output-format", "zip")
        self.assertIn("bootstrap", zipfile.ZipFile(CHECKOUT / "target/lambda/pollo-webhook/bootstrap.zip").namelist())
        run(*cargo_lambda, "build", "--release", "--locked")
        # What is measured of the one holds for the other.
        self.assertEqual((CHECKOUT / "target/lambda/pollo-webhook/bootstrap").read_bytes(), BUILT.read_bytes())
        options = ["--enable-function-url", "--memory", "256", "--timeout", "15", "--tracing", "active"]
        options += ["--role", role, "--env-file", settings, "--endpoint-url", os.environ["AWS_ENDPOINT_URL"]]
        run(*cargo_lambda, "deploy", *options, "pollo-webhook")
        self.addCleanup(logs.delete_log_group, logGroupName="/aws/lambda/pollo-webhook")
        self.addCleanup(functions.delete_function, FunctionName="pollo-webhook")

        url = functions.get_function_url_config(FunctionName="pollo-webhook")["FunctionUrl"]
        self.assertEqual(send(url, Webhook(SUCCESS, KEY))[0], 200)
        self.assertEqual(send(url, Webhook(SUCCESS, NOBODYS_KEY))[0], 401)
        statements = json.loads(functions.get_policy(FunctionName="pollo-webhook")["Policy"])["Statement"]
        # The second, without which a URL made since October 2025 answers 403, came with cargo-lambda 1.9.2.
        self.assertEqual(
            {statement["Action"] for statement in statements}, {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
        )


def policy(statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


if __name__ == "__main__":
    unittest.main(verbosity=2)
