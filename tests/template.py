"""The templates, as SAM's own translator and AWS's own linter see them: `make template`."""

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

import cfnlint.api
import cfnlint.config
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

CHECKOUT = Path(__file__).resolve().parent.parent
MAIN = CHECKOUT / "template.yaml"
TEMPLATES = [MAIN, *sorted((CHECKOUT / "examples" / "subscribers").glob("*.yaml"))]
SAM = Path(sys.executable).parent / "sam"
CHECKOV = CHECKOUT / ".tools" / "checkov" / "bin" / "checkov"
REGION = "us-east-1"
os.environ.update(AWS_DEFAULT_REGION=REGION, SAM_CLI_TELEMETRY="0")
# The translator warns of counts of its own that it sends nowhere.
logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)

TOPIC_ARN = {"Fn::If": ["CreatesTopic", {"Ref": "Topic"}, {"Ref": "ExistingTopicArn"}]}
SUBSCRIBED_TOPIC = {"Fn::ImportValue": {"Fn::Sub": "${WebhookStack}-TopicArn"}}


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
    "CKV_AWS_173": (
        "Lambda encrypts them with a key of AWS's; who reads them, lambda:GetFunctionConfiguration decides already",
        ["template: Function"],
    ),
    "CKV_AWS_158": (
        "CloudWatch encrypts every log; there are neither keys nor signatures in this one",
        ["template: LogGroup", "function: LogGroup"],
    ),
    "CKV_AWS_26": (
        "CloudWatch may not use the key that AWS keeps for SNS, and an alarm says no more than that it is one",
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
        if "CodeUri" in resource["Properties"]:
            resource["Properties"]["CodeUri"] = "s3://bucket/archive"
    return transform(template, {}, ManagedPolicies())


def findings(template):
    config = cfnlint.config.ManualArgs(regions=[REGION])
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
                        {"ArnEquals": {"aws:SourceArn": SUBSCRIBED_TOPIC}},
                    ),
                )
                self.assertEqual(
                    (deny["Effect"], deny["Principal"], deny["Action"], deny["Condition"]),
                    ("Deny", "*", "sqs:*", {"Bool": {"aws:SecureTransport": "false"}}),
                )
                for statement in [allow, deny]:
                    self.assertEqual({arn["Fn::GetAtt"][0] for arn in as_list(statement["Resource"])}, queues)

    def test_puts_what_its_subscription_cannot_deliver_aside(self):
        for path in TEMPLATES[1:]:
            with self.subTest(path.name):
                template = translated(path)
                [subscription] = of_type(template, "AWS::SNS::Subscription").values()
                self.assertEqual(subscription["TopicArn"], SUBSCRIBED_TOPIC)
                self.assertEqual(
                    subscription["RedrivePolicy"], {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}
                )
                self.assertIn(subscription["FilterPolicy"], [{"status": ["succeed"]}, {"status": ["failed"]}])


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

    def test_lets_the_function_publish_to_the_topic_and_write_its_log_and_traces_and_do_nothing_else(self):
        [role] = of_type(self.template, "AWS::IAM::Role").values()
        self.assertEqual(set(role), {"AssumeRolePolicyDocument", "Policies"})
        self.assertEqual(self.function["Role"], {"Fn::GetAtt": ["Role", "Arn"]})
        [policy] = role["Policies"]
        *always, with_traces, with_key = policy["PolicyDocument"]["Statement"]
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
            with_key["Fn::If"],
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
            self.statements("TopicPolicy"),
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
                else:
                    self.assertEqual(alarm["Namespace"], namespace)
                    self.assertIn((alarm["MetricName"], tuple(dimensions)), made)

    def test_sends_every_alarm_to_the_mail_address_and_to_the_topic_if_there_are_any(self):
        actions = [
            {"Fn::If": ["MailsAlarms", {"Ref": "AlarmTopic"}, {"Ref": "AWS::NoValue"}]},
            {"Fn::If": ["PublishesAlarms", {"Ref": "AlarmTopicArn"}, {"Ref": "AWS::NoValue"}]},
        ]
        for name, alarm in of_type(self.template, "AWS::CloudWatch::Alarm").items():
            with self.subTest(name):
                self.assertEqual((alarm["AlarmActions"], alarm["OKActions"]), (actions, actions))

    def test_lets_its_own_alarms_publish_to_the_topic_of_alarms(self):
        # CloudWatch has no access to the key that AWS keeps for SNS.
        self.assertNotIn("KmsMasterKeyId", self.resources["AlarmTopic"]["Properties"])
        allow, deny = self.statements("AlarmTopicPolicy")
        self.assertEqual(allow["Principal"], {"Service": "cloudwatch.amazonaws.com"})
        self.assertEqual(allow["Condition"]["StringEquals"], {"aws:SourceAccount": {"Ref": "AWS::AccountId"}})
        self.assertRegex(allow["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"], r":alarm:\$\{AWS::StackName\}-\*$")
        self.assertEqual((deny["Effect"], deny["Condition"]), ("Deny", {"Bool": {"aws:SecureTransport": "false"}}))

    def test_shows_metrics_and_alarms_that_exist_on_its_dashboard(self):
        body = self.resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
        for name in re.findall(r"\$\{([^}]+)\}", body):
            self.assertTrue(name.startswith("AWS::") or name.removesuffix(".Arn") in self.resources, name)
        widgets = json.loads(body)["widgets"]
        alarms = next(widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm")
        self.assertCountEqual(alarms, [f"${{{name}.Arn}}" for name in of_type(self.template, "AWS::CloudWatch::Alarm")])
        shown = json.dumps([widget["properties"].get("metrics") for widget in widgets])
        for filter in of_type(self.template, "AWS::Logs::MetricFilter").values():
            name = filter["MetricTransformations"][0]["MetricName"]
            # That which only an alarm watches repeats a part of the others.
            if name != "AuthenticRejected":
                self.assertIn(name, shown)

    def test_puts_out_what_is_needed_next(self):
        outputs = self.template["Outputs"]
        self.assertEqual(set(outputs), {"WebhookUrl", "TopicArn", "FunctionName", "LogGroupName", "DashboardUrl"})
        self.assertEqual(outputs["TopicArn"]["Value"], TOPIC_ARN)
        self.assertEqual(outputs["TopicArn"]["Export"], {"Name": {"Fn::Sub": "${AWS::StackName}-TopicArn"}})
        self.assertEqual(outputs["WebhookUrl"]["Value"], {"Fn::GetAtt": ["FunctionUrl", "FunctionUrl"]})

    def test_groups_and_describes_each_parameter_for_the_console(self):
        groups = self.template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        grouped = [name for group in groups for name in group["Parameters"]]
        self.assertCountEqual(grouped, self.template["Parameters"])
        for name, parameter in self.template["Parameters"].items():
            self.assertTrue(parameter.get("Description"), name)
            # An AWS limit.
            self.assertLess(len(parameter["Description"]), 4000)

    def test_has_its_parameters_in_the_operations_page_with_their_defaults(self):
        page = (CHECKOUT / "docs" / "operations.md").read_text()
        rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE))
        defaults = {
            name: f"`{parameter['Default']}`" if parameter["Default"] != "" else "–"
            for name, parameter in self.template["Parameters"].items()
        }
        self.assertEqual({name: rows.get(name) for name in defaults}, defaults)

    def test_has_its_alarms_in_the_operations_page(self):
        page = (CHECKOUT / "docs" / "operations.md").read_text()
        headings = re.findall(r"^### `(\w+)`", page, re.MULTILINE)
        self.assertCountEqual(headings, of_type(self.template, "AWS::CloudWatch::Alarm"))

    def test_is_deployed_with_a_name_tags_and_the_right_to_make_a_role(self):
        deploy = tomllib.loads((CHECKOUT / "samconfig.toml").read_text())["default"]["deploy"]["parameters"]
        self.assertEqual(
            (deploy["stack_name"], deploy["capabilities"], deploy["resolve_s3"]),
            ("pollo-webhook", "CAPABILITY_IAM", True),
        )
        self.assertNotIn("parameter_overrides", deploy)


if __name__ == "__main__":
    unittest.main(verbosity=2)
