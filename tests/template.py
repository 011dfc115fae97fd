"""The templates, as SAM's own translator and AWS's own linter see them: `make template`."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

import cfnlint.api
import cfnlint.config
from cfnlint.helpers import REGIONS
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from tests import operations

CHECKOUT = Path(__file__).resolve().parent.parent
MAIN = CHECKOUT / "template.yaml"
SUBSCRIBERS = CHECKOUT / "examples" / "subscribers"
TEMPLATES = [MAIN, *sorted(SUBSCRIBERS.glob("*.yaml"))]
SAM = Path(sys.executable).parent / "sam"
CHECKOV = CHECKOUT / ".tools" / "checkov" / "bin" / "checkov"
REGION = "us-east-1"
os.environ.update(AWS_DEFAULT_REGION=REGION, SAM_CLI_TELEMETRY="0")
# The translator warns of counts of its own that it sends nowhere.
logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)

TOPIC_ARN = {"Fn::If": ["CreatesTopic", {"Ref": "Topic"}, {"Ref": "ExistingTopicArn"}]}
ALARM_TOPIC = {"Fn::If": ["CreatesAlarmTopic", {"Ref": "AlarmTopic"}, {"Ref": "AlarmTopicArn"}]}
FIRST_FAILURE = ("Sum", "GreaterThanOrEqualToThreshold", 1)


# What checkov finds and we have decided otherwise: the check, why, and where.
DECIDED_OTHERWISE = {
    "CKV_AWS_258": (
        "Pollo cannot sign for AWS: the function checks Pollo's own signature, and reserved concurrency caps the cost",
        ["template: FunctionUrl"],
    ),
    "CKV_AWS_117": (
        "it calls SNS and nothing else: in a VPC that would take a NAT gateway or an endpoint, and gain nothing",
        ["template: Function", "function: Function"],
    ),
    "CKV_AWS_116": (
        "a dead-letter queue is for asynchronous calls: a URL's are not, and a topic's have that of the subscription",
        ["template: Function", "function: Function"],
    ),
    "CKV_AWS_158": (
        "CloudWatch encrypts every log; there are neither keys nor signatures in this one",
        ["template: LogGroup", "function: LogGroup"],
    ),
    "CKV_AWS_26": (
        "CloudWatch cannot use the key that AWS manages for SNS, and an alarm contains nothing of a webhook",
        ["template: AlarmTopic"],
    ),
    "CKV_AWS_27": (
        "they are encrypted, with the key that SQS keeps (SqsManagedSseEnabled), which checkov does not look at",
        ["function: DeadLetterQueue", "mail: DeadLetterQueue", "queue: DeadLetterQueue", "queue: Queue"],
    ),
    "CKV_AWS_115": (
        "an example takes nothing from the account's concurrency that is not asked for",
        ["function: Function"],
    ),
}


class ManagedPolicies:
    """SAM asks IAM for these. Here it gets none, so that it takes the names that it knows itself."""

    def load(self):
        return {}


def translated(path):
    """What CloudFormation is given when SAM is done with the template."""
    template = yaml_parse(path.read_text())
    for resource in template["Resources"].values():
        if "CodeUri" in resource.get("Properties", {}):
            resource["Properties"]["CodeUri"] = "s3://bucket/archive"
    return transform(template, {}, ManagedPolicies())


def findings(template, *regions):
    config = cfnlint.config.ManualArgs(regions=[*regions] or [REGION])
    return [str(match) for match in cfnlint.api.lint(json.dumps(template, indent=1), config=config)]


def checkov(templates):
    """What checkov finds in each of the `templates`, which go by their names: pairs of the check and the place."""
    if not CHECKOV.exists():
        sys.exit(f"{CHECKOV} is missing: start this through make, which brings it")
    with tempfile.TemporaryDirectory() as folder:
        for name, template in templates.items():
            Path(folder, f"{name}.json").write_text(json.dumps(template))
        command = [CHECKOV, "-d", folder, "--framework", "cloudformation", "--skip-download", "--quiet", "-o", "json"]
        report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    if report["summary"]["parsing_errors"] or not report["summary"]["passed"]:
        raise AssertionError(f"checkov could not read the templates: {report['summary']}")
    return sorted(
        (check["check_id"], f"{Path(check['file_path']).stem}: {check['resource'].rpartition('.')[2]}")
        for check in report["results"]["failed_checks"]
    )


def of_type(template, kind):
    return {
        name: resource["Properties"] for name, resource in template["Resources"].items() if resource["Type"] == kind
    }


def paths_to(value, sought, path=()):
    """Where `sought`, or a text that has it in it, stands within `value`."""
    if value == sought or (isinstance(value, str) and isinstance(sought, str) and sought in value):
        return [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [found for key, item in items for found in paths_to(item, sought, (*path, key))]


def at(value, path):
    for key in path:
        value = value[key]
    return value


def imported(name):
    return {"Fn::ImportValue": {"Fn::Sub": f"${{WebhookStack}}-{name}"}}


def subscribed_topic(subscriber):
    """The topic of the stack that is named or, where an example allows it, one of another account."""
    if "TopicArn" in subscriber["Parameters"]:
        return {"Fn::If": ["HasTopicArn", {"Ref": "TopicArn"}, imported("TopicArn")]}
    return imported("TopicArn")


def as_list(value):
    return value if isinstance(value, list) else [value]


class EveryTemplate(unittest.TestCase):
    def test_is_valid_to_sam(self):
        for path in TEMPLATES:
            with self.subTest(path.name):
                validated = subprocess.run(
                    [SAM, "validate", "-t", path], capture_output=True, text=True, cwd=CHECKOUT, check=False
                )
                self.assertEqual(validated.returncode, 0, validated.stdout + validated.stderr)

    def test_has_no_findings_once_it_is_translated(self):
        for path in TEMPLATES:
            with self.subTest(path.name):
                self.assertEqual(findings(translated(path)), [])

    def test_would_have_findings_if_it_were_broken(self):
        for breakage in [
            lambda resources: resources["Role"]["Properties"].update(RoleName={"Ref": "Nothing"}),
            lambda resources: resources["Function"]["Properties"].update(Role={"Fn::GetAtt": ["Role", "Nothing"]}),
            lambda resources: resources["Function"]["Properties"].update(Runtime="rust1.x"),
            lambda resources: resources["LogGroup"]["Properties"].update(Retention=1),
        ]:
            template = translated(MAIN)
            breakage(template["Resources"])
            self.assertNotEqual(findings(template), [])

    def test_has_no_findings_of_checkov_but_those_decided_otherwise(self):
        decided = sorted((check, place) for check, (_, places) in DECIDED_OTHERWISE.items() for place in places)
        self.assertEqual(checkov({path.stem: translated(path) for path in TEMPLATES}), decided)

    def test_would_have_findings_of_checkov_if_it_were_open(self):
        template = translated(MAIN)
        del template["Resources"]["Topic"]["Properties"]["KmsMasterKeyId"]
        del template["Resources"]["Function"]["Properties"]["ReservedConcurrentExecutions"]
        found = checkov({"template": template})
        self.assertIn(("CKV_AWS_26", "template: Topic"), found)
        self.assertIn(("CKV_AWS_115", "template: Function"), found)

    def test_is_encrypted_where_checkov_does_not_look(self):
        for path in TEMPLATES[1:]:
            for name, queue in of_type(translated(path), "AWS::SQS::Queue").items():
                self.assertIs(queue["SqsManagedSseEnabled"], True, f"{path.name}: {name}")

    def test_lets_messages_into_its_queues_from_the_topic_alone(self):
        for path in TEMPLATES[1:]:
            with self.subTest(path.name):
                template = translated(path)
                queues = set(of_type(template, "AWS::SQS::Queue"))
                [policy] = of_type(template, "AWS::SQS::QueuePolicy").values()
                self.assertEqual({queue["Ref"] for queue in policy["Queues"]}, queues)
                allow, deny = policy["PolicyDocument"]["Statement"]
                self.assertEqual(
                    (allow["Effect"], allow["Principal"], allow["Action"], allow["Condition"]),
                    (
                        "Allow",
                        {"Service": "sns.amazonaws.com"},
                        "sqs:SendMessage",
                        {"ArnEquals": {"aws:SourceArn": subscribed_topic(template)}},
                    ),
                )
                self.assertEqual(
                    (deny["Effect"], deny["Principal"], deny["Action"], deny["Condition"]),
                    ("Deny", "*", "sqs:*", {"Bool": {"aws:SecureTransport": "false"}}),
                )
                for statement in [allow, deny]:
                    self.assertEqual({arn["Fn::GetAtt"][0] for arn in as_list(statement["Resource"])}, queues)

    def test_subscribes_only_once_the_topic_may_deliver(self):
        for path in TEMPLATES[1:]:
            with self.subTest(path.name):
                template = translated(path)
                [subscription] = [
                    resource
                    for resource in template["Resources"].values()
                    if resource["Type"] == "AWS::SNS::Subscription"
                ]
                # A subscription that names the function as its endpoint comes after the function.
                endpoint = subscription["Properties"]["Endpoint"]
                waits = endpoint == {"Fn::GetAtt": ["Function", "Arn"]}
                waiting = template["Resources"]["Function"] if waits else subscription
                self.assertIn("QueuePolicy", as_list(waiting["DependsOn"]))

    def test_keeps_messages_as_long_as_sqs_can(self):
        for path in TEMPLATES[1:]:
            for name, queue in of_type(translated(path), "AWS::SQS::Queue").items():
                self.assertEqual(queue["MessageRetentionPeriod"], 14 * 24 * 3600, f"{path.name}: {name}")

    def test_sends_its_alarms_to_those_of_the_stack_it_subscribes_to_unless_told_otherwise(self):
        for path in TEMPLATES[1:]:
            template = translated(path)
            default = imported("AlarmTopicArn")
            if "TopicArn" in template["Parameters"]:
                # Nothing can be imported from another account.
                default = {"Fn::If": ["HasTopicArn", {"Ref": "AWS::NoValue"}, default]}
            alarms = of_type(template, "AWS::CloudWatch::Alarm")
            self.assertNotEqual(alarms, {})
            for name, alarm in alarms.items():
                self.assertEqual(
                    alarm["AlarmActions"],
                    [{"Fn::If": ["HasAlarmTopicArn", {"Ref": "AlarmTopicArn"}, default]}],
                    f"{path.name}: {name}",
                )

    def test_puts_what_its_subscription_cannot_deliver_aside(self):
        for path in TEMPLATES[1:]:
            with self.subTest(path.name):
                template = translated(path)
                [subscription] = of_type(template, "AWS::SNS::Subscription").values()
                self.assertEqual(subscription["TopicArn"], subscribed_topic(template))
                self.assertEqual(
                    subscription["RedrivePolicy"], {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}
                )
                self.assertIn(subscription["FilterPolicy"], [{"status": ["succeed"]}, {"status": ["failed"]}])


class TheSubscribers(unittest.TestCase):
    def test_queue_says_so_if_nobody_processes_its_messages(self):
        alarm = of_type(translated(SUBSCRIBERS / "queue.yaml"), "AWS::CloudWatch::Alarm")["Unprocessed"]
        self.assertEqual((alarm["Namespace"], alarm["MetricName"]), ("AWS/SQS", "ApproximateAgeOfOldestMessage"))
        self.assertEqual(alarm["Dimensions"], [{"Name": "QueueName", "Value": {"Fn::GetAtt": ["Queue", "QueueName"]}}])
        self.assertEqual((alarm["Statistic"], alarm["Threshold"]), ("Maximum", 3600))

    def test_function_may_write_its_log_and_put_messages_aside_and_do_nothing_else(self):
        template = translated(SUBSCRIBERS / "function.yaml")
        [role] = of_type(template, "AWS::IAM::Role").values()
        self.assertEqual(set(role), {"AssumeRolePolicyDocument", "Policies"})
        [policy] = role["Policies"]
        self.assertEqual(
            [(s["Effect"], s["Action"], s["Resource"]) for s in policy["PolicyDocument"]["Statement"]],
            [
                ("Allow", ["logs:CreateLogStream", "logs:PutLogEvents"], {"Fn::GetAtt": ["LogGroup", "Arn"]}),
                ("Allow", "sqs:SendMessage", {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}),
            ],
        )


class TheBuild(unittest.TestCase):
    """`sam build`, with a compiler that says that it runs on a machine of some kind, and that only says what it is to do."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def program(self, name, text):
        (self.folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.folder / name).chmod(0o755)

    def target(self, host, architecture):
        """What the function is compiled for on a `host`, if the template says `architecture`."""
        cargo, rustc = [shutil.which(name) for name in ["cargo", "rustc"]]
        self.program("rustc", f"'{rustc}' \"$@\" | sed 's/^host: .*/host: {host}/'")
        self.program(
            "cargo",
            f"""case $1 in
              metadata) exec '{cargo}' "$@";;
              lambda) exec '{SAM.parent}/cargo-lambda' "$@";;
              build) echo "$@" >'{self.folder}/asked'; exit 1;;
            esac""",
        )
        template = self.folder / "template.yaml"
        text = MAIN.read_text().replace("CodeUri: .", f"CodeUri: {CHECKOUT}")
        template.write_text(re.sub(r"(?<=Architectures: )\[\w+\]", f"[{architecture}]", text))
        environment = {
            **os.environ,
            "PATH": f"{self.folder}{os.pathsep}{SAM.parent}{os.pathsep}{os.environ['PATH']}",
            # It would install what is missing for another architecture.
            "RUSTUP": "no-rustup",
        }
        command = [SAM, "build", "-t", template, "--build-dir", self.folder / "built", "--cache-dir", self.folder]
        asked = self.folder / "asked"
        asked.write_text("")
        built = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=CHECKOUT, check=False)
        self.assertIn("--target", asked.read_text(), built.stderr)
        return re.search(r"--target (\S+)", asked.read_text()).group(1)

    def test_compiles_for_the_architecture_of_the_template_on_every_machine(self):
        for host in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin"]:
            for architecture, target in [
                ("x86_64", "x86_64-unknown-linux-gnu"),
                ("arm64", "aarch64-unknown-linux-gnu"),
            ]:
                with self.subTest(host=host, architecture=architecture):
                    self.assertEqual(self.target(host, architecture), target)

    def test_and_the_deployment_read_the_architecture_from_one_line(self):
        template = translated(MAIN)
        self.assertEqual(template["Resources"]["Function"]["Properties"]["Architectures"], ["x86_64"])
        # `sam deploy` could be told something else by a parameter than `sam build`.
        self.assertEqual([name for name in template["Parameters"] if "arch" in name.lower()], [])


class TheTemplate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = translated(MAIN)
        cls.resources = cls.template["Resources"]
        cls.function = cls.resources["Function"]["Properties"]

    def statements(self, policy):
        return self.resources[policy]["Properties"]["PolicyDocument"]["Statement"]

    def test_opens_the_url_to_everyone_with_both_permissions(self):
        [url] = of_type(self.template, "AWS::Lambda::Url").values()
        self.assertEqual(url, {"TargetFunctionArn": {"Ref": "Function"}, "AuthType": "NONE"})
        permissions = [
            {key: value for key, value in permission.items() if key != "FunctionName"}
            for permission in of_type(self.template, "AWS::Lambda::Permission").values()
        ]
        self.assertCountEqual(
            permissions,
            [
                {"Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"},
                {"Action": "lambda:InvokeFunction", "Principal": "*", "InvokedViaFunctionUrl": True},
            ],
        )

    def test_cannot_be_deployed_in_the_regions_that_the_operations_page_names_and_in_no_others(self):
        named = re.findall(r"`([a-z]{2}-[a-z-]+-\d)`", operations.section("Without a function URL"))
        found = findings(self.template, *REGIONS)
        self.assertCountEqual(
            [f"(Resource type 'AWS::Lambda::Url' does not exist in '{region}')" for region in named],
            [re.search(r"\(.*\)", finding).group() for finding in found],
        )
        self.assertIn(f"knows {len(named)} regions", operations.section("Without a function URL"))

    def test_can_be_deployed_everywhere_with_an_http_api_as_the_operations_page_says(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "template.yaml")
            path.write_text(operations.template_with_http_api())
            template = translated(path)
        self.assertEqual(findings(template, *REGIONS), [])
        self.assertEqual(of_type(template, "AWS::Lambda::Url"), {})
        [api] = of_type(template, "AWS::ApiGatewayV2::Api").values()
        integration = api["Body"]["paths"]["/"]["post"]["x-amazon-apigateway-integration"]
        self.assertEqual((integration["type"], integration["payloadFormatVersion"]), ("aws_proxy", "2.0"))
        [permission] = of_type(template, "AWS::Lambda::Permission").values()
        self.assertEqual(permission["Principal"], "apigateway.amazonaws.com")

    def test_lets_the_function_publish_to_the_topic_and_write_its_log_and_traces_and_do_nothing_else(self):
        [role] = of_type(self.template, "AWS::IAM::Role").values()
        self.assertEqual(set(role), {"AssumeRolePolicyDocument", "Policies"})
        self.assertEqual(self.function["Role"], {"Fn::GetAtt": ["Role", "Arn"]})
        [policy] = role["Policies"]
        *always, with_traces, with_topic_key, with_environment_key = policy["PolicyDocument"]["Statement"]
        self.assertEqual(
            always,
            [
                {"Effect": "Allow", "Action": "sns:Publish", "Resource": TOPIC_ARN},
                {
                    "Effect": "Allow",
                    "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                    "Resource": {"Fn::GetAtt": ["LogGroup", "Arn"]},
                },
            ],
        )
        self.assertEqual(
            with_traces["Fn::If"],
            [
                "Traces",
                {"Effect": "Allow", "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "Resource": "*"},
                {"Ref": "AWS::NoValue"},
            ],
        )
        self.assertEqual(
            with_topic_key["Fn::If"],
            [
                "HasTopicKmsKey",
                {
                    "Effect": "Allow",
                    "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
                    "Resource": {"Ref": "TopicKmsKeyArn"},
                },
                {"Ref": "AWS::NoValue"},
            ],
        )
        self.assertEqual(
            with_environment_key["Fn::If"],
            [
                "HasEnvironmentKmsKey",
                {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": {"Ref": "EnvironmentKmsKeyArn"}},
                {"Ref": "AWS::NoValue"},
            ],
        )

    def test_encrypts_the_environment_with_a_key_of_the_users_if_there_is_one(self):
        self.assertEqual(
            self.function["KmsKeyArn"],
            {"Fn::If": ["HasEnvironmentKmsKey", {"Ref": "EnvironmentKmsKeyArn"}, {"Ref": "AWS::NoValue"}]},
        )

    def test_allows_nothing_on_every_resource_but_traces(self):
        allowed = [
            statement
            for path in paths_to(self.resources, "Allow")
            if "*" in as_list((statement := at(self.resources, path[:-1])).get("Resource", []))
        ]
        self.assertEqual(
            [statement["Action"] for statement in allowed], [["xray:PutTraceSegments", "xray:PutTelemetryRecords"]]
        )

    def test_keeps_everyone_but_the_function_from_publishing_and_the_function_from_doing_so_in_the_clear(self):
        self.assertEqual(
            self.statements("TopicPolicy")[:2],
            [
                {
                    "Sid": sid,
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sns:Publish",
                    "Resource": {"Ref": "Topic"},
                    "Condition": condition,
                }
                for sid, condition in [
                    ("OnlyTheFunction", {"ArnNotEquals": {"aws:PrincipalArn": {"Fn::GetAtt": ["Role", "Arn"]}}}),
                    ("OnlyOverTls", {"Bool": {"aws:SecureTransport": "false"}}),
                ]
            ],
        )

    def test_lets_the_accounts_that_are_named_subscribe_and_no_other(self):
        self.assertEqual(
            self.statements("TopicPolicy")[2:],
            [
                {
                    "Fn::If": [
                        "HasSubscriberAccounts",
                        {
                            "Sid": "OtherAccountsMaySubscribe",
                            "Effect": "Allow",
                            "Principal": {"AWS": {"Fn::Split": [",", {"Ref": "SubscriberAccounts"}]}},
                            "Action": "sns:Subscribe",
                            "Resource": {"Ref": "Topic"},
                        },
                        {"Ref": "AWS::NoValue"},
                    ]
                }
            ],
        )
        self.assert_accepts(
            "SubscriberAccounts",
            ["", "123456789012", "123456789012,210987654321"],
            ["*", "12345678901", "123456789012,", "123456789012, 210987654321", "arn:aws:iam::123456789012:root"],
        )

    def assert_accepts(self, parameter, good, bad):
        pattern = self.template["Parameters"][parameter]["AllowedPattern"]
        for value in good:
            self.assertRegex(value, f"^(?:{pattern})\\Z", value)
        for value in bad:
            self.assertNotRegex(value, f"^(?:{pattern})\\Z", value)

    def test_accepts_one_key_or_several_in_every_spelling_that_the_function_reads(self):
        key = "cG9sbG8td2ViaG9vay1wdWJsaXNoZWQtdGVzdC1rZXk="
        self.assert_accepts(
            "WebhookSecret",
            [
                "",
                key,
                f"whsec_{key}",
                "-_-_-_-_-_-_-_-_-_-_-_",
                f"{key},{key}",
                f" {key},\t{key} ",
                f"{key}\n{key}\r\n",
            ],
            ["not%Base64", f"{key};{key}", f'"{key}"'],
        )

    def test_encrypts_the_topic_and_names_it_as_sns_wants_it(self):
        topic = self.resources["Topic"]
        self.assertEqual(topic["Condition"], "CreatesTopic")
        self.assertEqual(
            topic["Properties"]["KmsMasterKeyId"],
            {"Fn::If": ["HasTopicKmsKey", {"Ref": "TopicKmsKeyArn"}, "alias/aws/sns"]},
        )
        self.assertEqual(
            topic["Properties"]["TopicName"],
            {"Fn::If": ["IsFifo", {"Fn::Sub": "${AWS::StackName}.fifo"}, {"Ref": "AWS::NoValue"}]},
        )
        self.assertEqual(topic["Properties"]["FifoTopic"], {"Fn::If": ["IsFifo", True, {"Ref": "AWS::NoValue"}]})

    def test_gives_the_function_its_three_variables(self):
        self.assertEqual(
            self.function["Environment"]["Variables"],
            {
                "WEBHOOK_SECRET": {
                    "Fn::If": [
                        "ReadsSecretsManager",
                        {
                            "Fn::Sub": "{{resolve:secretsmanager:${WebhookSecretName}:SecretString:::"
                            "${WebhookSecretVersion}}}"
                        },
                        {"Ref": "WebhookSecret"},
                    ]
                },
                "SNS_TOPIC_ARN": TOPIC_ARN,
                "WEBHOOK_TOLERANCE_SECONDS": {"Ref": "ToleranceSeconds"},
            },
        )

    def test_shows_the_key_to_nobody_but_the_function(self):
        self.assertIs(self.template["Parameters"]["WebhookSecret"]["NoEcho"], True)
        variable = ("Resources", "Function", "Properties", "Environment", "Variables", "WEBHOOK_SECRET")
        # A rule tells whether there is one, and the console in which order to ask for it.
        for sought in [{"Ref": "WebhookSecret"}, "{{resolve:"]:
            places = [path for path in paths_to(self.template, sought) if path[0] != "Rules"]
            self.assertEqual([path[: len(variable)] for path in places], [variable], sought)
        for path in paths_to(self.template, "${WebhookSecret}"):
            self.fail(f"the key stands in {path}")

    def test_traces_and_logs_to_a_group_of_its_own(self):
        self.assertEqual(self.function["TracingConfig"], {"Mode": {"Ref": "Tracing"}})
        self.assertEqual(self.function["LoggingConfig"], {"LogFormat": "JSON", "LogGroup": {"Ref": "LogGroup"}})
        self.assertEqual(self.resources["LogGroup"]["Properties"]["RetentionInDays"], {"Ref": "LogRetentionDays"})

    def test_leaves_time_for_the_worst_answer_and_a_cold_start(self):
        # The publisher answers within 8 seconds, which it checks itself.
        self.assertGreaterEqual(self.function["Timeout"], 8 + 2)

    def test_watches_metrics_that_exist(self):
        namespace = {"Fn::Sub": "PolloWebhook/${AWS::StackName}"}
        made = {
            (transformation["MetricName"], tuple(d["Key"] for d in transformation.get("Dimensions", [])))
            for filter in of_type(self.template, "AWS::Logs::MetricFilter").values()
            for transformation in filter["MetricTransformations"]
            if transformation["MetricNamespace"] == namespace
        }
        self.assertEqual(len(made), len(of_type(self.template, "AWS::Logs::MetricFilter")))
        for name, alarm in of_type(self.template, "AWS::CloudWatch::Alarm").items():
            with self.subTest(name):
                dimensions = {d["Name"]: d["Value"] for d in alarm.get("Dimensions", [])}
                if alarm["Namespace"] == "AWS/Lambda":
                    self.assertIn(alarm["MetricName"], ["Errors", "Throttles"])
                    self.assertEqual(dimensions, {"FunctionName": {"Ref": "Function"}})
                elif alarm["Namespace"] == "AWS/SNS":
                    self.assertEqual(alarm["MetricName"], "NumberOfNotificationsFailed")
                    # The sixth part of an ARN of SNS is the topic's name.
                    name = {"Fn::Select": [5, {"Fn::Split": [":", TOPIC_ARN]}]}
                    self.assertEqual(dimensions, {"TopicName": name})
                else:
                    self.assertEqual(alarm["Namespace"], namespace)
                    self.assertIn((alarm["MetricName"], tuple(dimensions)), made)

    def test_rings_at_the_first_failure_of_each_kind(self):
        alarms = of_type(self.template, "AWS::CloudWatch::Alarm")
        del alarms["Silence"]
        for name, alarm in alarms.items():
            with self.subTest(name):
                threshold = alarm["Threshold"]
                if threshold == {"Ref": "UnverifiedThreshold"}:
                    threshold = self.template["Parameters"]["UnverifiedThreshold"]["Default"]
                self.assertEqual((alarm["Statistic"], alarm["ComparisonOperator"], threshold), FIRST_FAILURE)
                self.assertEqual((alarm["Period"], alarm["EvaluationPeriods"]), (300, 1))
                self.assertEqual(alarm["TreatMissingData"], "notBreaching")

    def test_rings_after_hours_of_silence_only_if_asked_to(self):
        silence = self.resources["Silence"]
        self.assertEqual(silence["Condition"], "WatchesSilence")
        alarm, hours = silence["Properties"], self.template["Parameters"]["SilenceHours"]
        self.assertEqual(
            self.template["Conditions"]["WatchesSilence"], {"Fn::Not": [{"Fn::Equals": [{"Ref": "SilenceHours"}, "0"]}]}
        )
        self.assertEqual(hours["Default"], 0)
        self.assertEqual(
            (alarm["MetricName"], alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]),
            ("Published", "Sum", "LessThanThreshold", 1),
        )
        # An hour without any webhook has no data.
        self.assertEqual(alarm["TreatMissingData"], "breaching")
        self.assertEqual((alarm["Period"], alarm["EvaluationPeriods"]), (3600, {"Ref": "SilenceHours"}))
        # CloudWatch allows seven days in all.
        self.assertEqual(alarm["Period"] * hours["MaxValue"], 7 * 24 * 3600)

    def test_sends_every_alarm_to_one_topic_and_mails_it_if_asked_to(self):
        for name, alarm in of_type(self.template, "AWS::CloudWatch::Alarm").items():
            with self.subTest(name):
                self.assertEqual((alarm["AlarmActions"], alarm["OKActions"]), ([ALARM_TOPIC], [ALARM_TOPIC]))
        subscription = self.resources["AlarmSubscription"]
        self.assertEqual(subscription["Condition"], "MailsAlarms")
        self.assertEqual(
            subscription["Properties"],
            {"TopicArn": ALARM_TOPIC, "Protocol": "email", "Endpoint": {"Ref": "AlarmMail"}},
        )

    def test_lets_the_alarms_of_this_account_publish_to_the_topic_of_alarms(self):
        # CloudWatch cannot use the key that AWS manages for SNS.
        self.assertNotIn("KmsMasterKeyId", self.resources["AlarmTopic"].get("Properties", {}))
        allow, deny = self.statements("AlarmTopicPolicy")
        self.assertEqual((allow["Effect"], allow["Action"]), ("Allow", "sns:Publish"))
        self.assertEqual(allow["Principal"], {"Service": "cloudwatch.amazonaws.com"})
        self.assertEqual(allow["Condition"]["StringEquals"], {"aws:SourceAccount": {"Ref": "AWS::AccountId"}})
        self.assertRegex(allow["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"], r":\$\{AWS::AccountId\}:alarm:\*$")
        self.assertEqual((deny["Effect"], deny["Condition"]), ("Deny", {"Bool": {"aws:SecureTransport": "false"}}))

    def test_shows_metrics_and_alarms_that_exist_on_its_dashboard_if_it_has_one(self):
        dashboard = self.resources["Dashboard"]
        self.assertEqual(dashboard["Condition"], "HasDashboard")
        body, variables = dashboard["Properties"]["DashboardBody"]["Fn::Sub"]
        self.assertEqual(
            variables, {"SilenceAlarm": {"Fn::If": ["WatchesSilence", {"Fn::Sub": ', "${Silence.Arn}"'}, ""]}}
        )
        for silence in ["", ', "${Silence.Arn}"']:
            filled = body.replace("${SilenceAlarm}", silence)
            for name in re.findall(r"\$\{([^}]+)\}", filled):
                self.assertTrue(name.startswith("AWS::") or name.removesuffix(".Arn") in self.resources, name)
            widgets = json.loads(filled)["widgets"]
        # With the alarm that is optional.
        alarms = next(widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm")
        self.assertCountEqual(alarms, [f"${{{name}.Arn}}" for name in of_type(self.template, "AWS::CloudWatch::Alarm")])
        shown = json.dumps([widget["properties"].get("metrics") for widget in widgets])
        for filter in of_type(self.template, "AWS::Logs::MetricFilter").values():
            self.assertIn(filter["MetricTransformations"][0]["MetricName"], shown)
        # A request that the URL itself rejects leaves no invocation and no line in the log.
        for name in ["UrlRequestCount", "Url4xxCount", "Url5xxCount"]:
            self.assertIn(name, shown)

    def test_puts_out_what_is_needed_next(self):
        outputs = self.template["Outputs"]
        self.assertEqual(
            set(outputs), {"WebhookUrl", "TopicArn", "AlarmTopicArn", "FunctionName", "LogGroupName", "DashboardUrl"}
        )
        self.assertEqual(outputs["WebhookUrl"]["Value"], {"Fn::GetAtt": ["FunctionUrl", "FunctionUrl"]})
        self.assertEqual(outputs["DashboardUrl"]["Condition"], "HasDashboard")
        for name, arn in [("TopicArn", TOPIC_ARN), ("AlarmTopicArn", ALARM_TOPIC)]:
            self.assertEqual(outputs[name]["Value"], arn)
            self.assertEqual(outputs[name]["Export"], {"Name": {"Fn::Sub": f"${{AWS::StackName}}-{name}"}})

    def test_groups_and_describes_each_parameter_for_the_console(self):
        groups = self.template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        grouped = [name for group in groups for name in group["Parameters"]]
        self.assertCountEqual(grouped, self.template["Parameters"])
        for name, parameter in self.template["Parameters"].items():
            self.assertTrue(parameter.get("Description"), name)
            # An AWS limit.
            self.assertLess(len(parameter["Description"]), 4000)

    def test_has_its_parameters_in_the_operations_page_with_their_defaults(self):
        rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", operations.section("Parameters"), re.MULTILINE))
        defaults = {
            name: f"`{parameter['Default']}`" if parameter["Default"] != "" else "–"
            for name, parameter in self.template["Parameters"].items()
        }
        self.assertEqual(rows, defaults)

    def test_has_its_alarms_in_the_operations_page(self):
        headings = re.findall(r"^### `(\w+)`", operations.PAGE, re.MULTILINE)
        self.assertCountEqual(headings, of_type(self.template, "AWS::CloudWatch::Alarm"))

    def test_has_what_its_metrics_count_in_the_operations_page_under_the_alarm_that_watches_them(self):
        alarms = {
            alarm["MetricName"]: name
            for name, alarm in of_type(self.template, "AWS::CloudWatch::Alarm").items()
            if name != "Silence"
        }
        for filter in of_type(self.template, "AWS::Logs::MetricFilter").values():
            metric = filter["MetricTransformations"][0]["MetricName"]
            # What needs no alarm is explained before the first one.
            section = operations.section(f"`{alarms[metric]}`" if metric in alarms else "Alarms")
            for result in re.findall(r'"(\w+)"', filter["FilterPattern"]):
                self.assertIn(f"`{result}`", section)

    def test_is_deployed_with_a_name_tags_and_the_right_to_make_a_role(self):
        deploy = tomllib.loads((CHECKOUT / "samconfig.toml").read_text())["default"]["deploy"]["parameters"]
        self.assertEqual(
            (deploy["stack_name"], deploy["capabilities"], deploy["resolve_s3"]),
            ("pollo-webhook", "CAPABILITY_IAM", True),
        )
        self.assertNotIn("parameter_overrides", deploy)


if __name__ == "__main__":
    unittest.main(verbosity=2)
