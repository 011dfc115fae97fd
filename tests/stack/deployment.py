"""Deploys with SAM, and reads the deployed stacks."""

import contextlib
import json
import os
import queue
import re
import signal
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pexpect

from local.emulators import ADDRESS, KEY, PATIENCE, started
from tools.package import archive_path
from operate.pollo import Webhook
from tests.leaks import leaks
from tests.stack.emulated_aws import ACCOUNT, REGION, SAM, attempt, policy, run

# A folder in the package.
SUBSCRIBERS = Path("examples/subscribers")

OTHER_KEY = "YW5vdGhlciBrZXkgb2YgUG9sbG8ncw=="
SUCCESS = b'{"taskId":"cm9ap1d4e0001","status":"succeed","credit":12}'
FAILURE = b'{"taskId":"cm9ap1d4e0001","status":"failed"}'
# How SAM expects an empty value.
QUOTES = '""'


def sam_deploy(*words, **parameters):
    """The words of `sam deploy`, with the parameters as options."""
    overrides = [f"{name}={value or QUOTES}" for name, value in parameters.items()]
    option = ["--parameter-overrides"] if overrides else []
    return [SAM, "deploy", "--no-confirm-changeset", *words, *option, *overrides]


def sam_deploy_stack(name, template=None, **parameters):
    template = ["-t", template, "--capabilities", "CAPABILITY_IAM"] if template else []
    return sam_deploy("--stack-name", name, "--region", REGION, *template, **parameters)


class Stack:
    """A deployed stack."""

    def __init__(self, aws, name, cloudformation=None):
        self.aws, self.name = aws, name
        cloudformation = cloudformation or aws.cloudformation
        [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        self.resources = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
        if "TopicPolicy" in self.resources:
            self.let_the_role_publish()

    def let_the_role_publish(self):
        """On AWS, aws:PrincipalArn is the ARN of the role. In the emulator, it is the ARN of the session."""
        role = self.resources["Role"]
        session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/*"
        self.set_topic_policy(self.topic_policy().replace(f"arn:aws:iam::{ACCOUNT}:role/{role}", session))

    def topic_policy(self):
        return self.aws.sns.get_topic_attributes(TopicArn=self.outputs["TopicArn"])["Attributes"]["Policy"]

    def set_topic_policy(self, policy):
        topic = self.outputs["TopicArn"]
        self.aws.sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)

    def let_nobody_publish(self):
        topic = self.outputs["TopicArn"]
        self.set_topic_policy(policy({"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": topic}))

    def send(self, webhook):
        return self.aws.send(self.outputs["WebhookUrl"], webhook)

    def status(self, key, body=SUCCESS):
        return self.send(Webhook(body, key))[0]

    def statuses(self):
        """The statuses of the responses to webhooks signed with the old and with the new key."""
        return {"old": self.status(KEY), "new": self.status(OTHER_KEY)}

    def setting(self, name):
        """A variable of the function's environment."""
        configuration = self.aws.functions.get_function_configuration(FunctionName=self.outputs["FunctionName"])
        return configuration["Environment"]["Variables"][name]

    def lines(self):
        """The log lines of the function, without those of the platform."""
        events = self.aws.logs.filter_log_events(logGroupName=self.outputs["LogGroupName"])["events"]
        messages = [event["message"] for event in events]
        for message in messages:
            assert leaks(message, {"WEBHOOK_SECRET": f"{KEY},{OTHER_KEY}"}) == []
        return [json.loads(message) for message in messages if message.startswith("{")]

    def results(self):
        return [line["result"] for line in self.lines()]

    def alarms(self):
        """The alarms by their names in the template."""
        found = {alarm["AlarmName"]: alarm for alarm in self.aws.cloudwatch.describe_alarms()["MetricAlarms"]}
        return {name: found[physical] for name, physical in self.resources.items() if physical in found}

    def decision(self, action, resource):
        """The decision of the role's policies."""
        role = self.aws.iam.get_role(RoleName=self.resources["Role"])["Role"]["Arn"]
        [result] = self.aws.iam.simulate_principal_policy(
            PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource]
        )["EvaluationResults"]
        return result["EvalDecision"]

    def operate(self, command, **variables):
        """Runs an operator's command on the stack. Returns its exit status and its output."""
        # The emulator has this form of a function URL too, which needs no DNS.
        function = urlsplit(self.outputs["WebhookUrl"]).netloc.partition(".")[0]
        settings = {
            "STACK": self.name,
            "URL": f"https://{ADDRESS}:{self.aws.port}/_aws/lambda-url/{function}/",
            "YES": "1",
            "WEBHOOK_SECRET": KEY,
            "SSL_CERT_FILE": str(self.aws.certificate),
        }
        ran = attempt(sys.executable, "-m", f"operate.{command}", cwd=self.aws.package, **{**settings, **variables})
        return ran.returncode, ran.stdout

    @contextlib.contextmanager
    def listener(self, **variables):
        """Starts `make listen` and returns the lines that it prints. Ends it as Ctrl-C does."""
        lines, environment = queue.Queue(), {**os.environ, "STACK": self.name, **variables}
        command = [sys.executable, "-m", "operate.listen"]
        with started(command, lines.put, env=environment, cwd=self.aws.package) as (process, reader):
            assert lines.get(timeout=PATIENCE) == f"Listening to {self.outputs['TopicArn']}. Ctrl-C stops it."
            yield lines
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
            reader.join()


def unpacked(folder):
    """Unpacks the archive of `make package`. Returns the folder that SAM deploys from."""
    with zipfile.ZipFile(archive_path(os.environ.get("ARCH", "x86_64"))) as archive:
        archive.extractall(folder)
    [top] = folder.iterdir()
    return top


class Release:
    """An unpacked package with its own samconfig.toml, because SAM writes into that file."""

    def __init__(self, aws, folder):
        self.aws, self.folder, self.versions = aws, unpacked(folder), 0
        self.config = self.folder / "samconfig.toml"

    def guided(self, **parameters):
        """Runs `sam deploy --guided` with these parameters. Returns the stack."""
        command = [str(SAM), ["deploy", "--guided"]]
        sam = pexpect.spawn(*command, cwd=self.folder, encoding="utf-8", timeout=PATIENCE, dimensions=(50, 300))
        for question, reply in [
            *((f"Parameter {name}.*: ", value) for name, value in parameters.items()),
            ("Confirm changes before deploy.*: ", ""),
            ("Disable rollback.*: ", ""),
            ("has no authentication. Is this okay.*: ", "y"),
            ("SAM configuration environment.*: ", ""),
            ("Deploy this changeset.*: ", "y"),
        ]:
            # An empty reply to any other question accepts SAM's default.
            while sam.expect([question, r"\]\S*: "]) == 1:
                sam.sendline("")
            sam.sendline(reply)
        sam.expect("Successfully created/updated stack - pollo-webhook")
        sam.expect(pexpect.EOF)
        return Stack(self.aws, "pollo-webhook")

    def edit(self, **settings):
        """Changes values in samconfig.toml, as a user does in an editor."""
        text = self.config.read_text()
        for name, value in settings.items():
            text, edits = re.subn(rf'\b{name}=\\"[^"\\]*\\"', rf'{name}=\\"{value}\\"', text)
            assert edits == 1, f"{name} is {edits} times instead of once in {text}"
        self.config.write_text(text)

    def deploy(self, **overrides):
        run(*sam_deploy(**overrides), cwd=self.folder)

    def update(self):
        """Deploys a new version of the function."""
        self.versions += 1
        with zipfile.ZipFile(self.folder / "bootstrap.zip", "a") as function:
            function.writestr(f"version-{self.versions}", "")
        self.deploy()
