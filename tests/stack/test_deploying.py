"""The ways to deploy, and the deployed function."""

import json
import os
import shutil
import zipfile

import boto3
import pytest

from local.emulators import CHECKOUT, KEY, TOOLS
from operate.pollo import NOBODYS_KEY, Webhook
from tests import operations
from tests.stack.deployment import SUBSCRIBERS, SUCCESS, Release, Stack, sam_deploy_stack
from tests.stack.emulated_aws import SAM, policy, run, take

pytestmark = pytest.mark.stack

# With the compiler, which the package does not need.
PATH = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
REJECTION = (401, {"error": "signature does not match"})


def bootstrap(package):
    with zipfile.ZipFile(package / "bootstrap.zip") as function:
        return function.read("bootstrap")


def test_guided_deployment_needs_only_the_key(release):
    stack = release.guided(WebhookSecret=KEY)
    assert KEY not in release.config.read_text()
    assert (stack.status(KEY), stack.status(NOBODYS_KEY)) == (200, 401)


def test_only_settings_in_samconfig_toml_persist(release):
    stack = release.guided(WebhookSecret=KEY, ToleranceSeconds="600")
    assert stack.setting("WEBHOOK_TOLERANCE_SECONDS") == "600"
    release.edit(ToleranceSeconds="259200")
    release.deploy()
    assert stack.setting("WEBHOOK_TOLERANCE_SECONDS") == "259200"
    release.update()
    assert stack.setting("WEBHOOK_TOLERANCE_SECONDS") == "259200"
    release.deploy(ToleranceSeconds="60")
    assert stack.setting("WEBHOOK_TOLERANCE_SECONDS") == "60"
    release.update()
    assert stack.setting("WEBHOOK_TOLERANCE_SECONDS") == "259200"


def test_an_upgrade_and_a_downgrade_keep_the_settings(aws, release, tmp_path):
    stack = release.guided(WebhookSecret=KEY, ToleranceSeconds="600")

    def code():
        return aws.functions.get_function_configuration(FunctionName=stack.outputs["FunctionName"])["CodeSha256"]

    codes, following = [code()], Release(aws, tmp_path / "following")
    shutil.copyfile(release.config, following.config)
    for deploy in [following.update, release.deploy]:
        deploy()
        codes.append(code())
        assert (stack.setting("WEBHOOK_TOLERANCE_SECONDS"), stack.status(KEY)) == ("600", 200)
    assert codes[0] == codes[2] != codes[1]
    assert Stack(aws, stack.name).outputs == stack.outputs


def test_sam_build_gives_the_packaged_binary(aws, deploy, package):
    run(SAM, "build", PATH=PATH)
    assert (CHECKOUT / ".aws-sam" / "build" / "Function" / "bootstrap").read_bytes() == bootstrap(package)
    run(*sam_deploy_stack("from-source", WebhookSecret=KEY))
    assert Stack(aws, "from-source").status(KEY) == 200


def test_the_packaged_binary_runs_and_survives_an_invalid_event(aws, deploy, package):
    stack = deploy(WebhookSecret=KEY)
    name = stack.outputs["FunctionName"]
    deployed = aws.functions.get_function(FunctionName=name)
    [architecture] = deployed["Configuration"]["Architectures"]
    archive = aws.download(deployed["Code"]["Location"])
    assert archive == (package / "bootstrap.zip").read_bytes()
    # The header of an ELF file names the machine at byte 18.
    assert bootstrap(package)[18:20] == {"x86_64": b"\x3e\x00", "arm64": b"\xb7\x00"}[architecture]

    event = json.loads((CHECKOUT / "events/base64-body.json").read_text())
    event["body"] = "not Base64%"
    broken = aws.functions.invoke(FunctionName=name, Payload=json.dumps(event))
    assert broken["FunctionError"] == "Unhandled"
    assert stack.status(KEY) == 200
    assert stack.results() == ["panic", "published"]


def test_an_event_of_another_format_fails_with_an_error(aws, deploy):
    stack = deploy(WebhookSecret=KEY)

    def invoke(event):
        return aws.functions.invoke(FunctionName=stack.outputs["FunctionName"], Payload=json.dumps(event))

    def sample(*words):
        return json.loads(run(SAM, "local", "generate-event", *words))

    # This format is that of a function URL. The request has no headers of Pollo.
    accepted = invoke(sample("apigateway", "http-api-proxy"))
    assert "FunctionError" not in accepted
    assert json.loads(accepted["Payload"].read())["statusCode"] == 400
    rest = sample("apigateway", "aws-proxy")
    for event in [rest, {"version": "1.0", **rest}, sample("alb", "request")]:
        assert invoke(event)["FunctionError"] == "Unhandled"
    first, *others = stack.lines()
    assert first["result"] == "header_missing"
    assert len(others) == 3
    for line in others:
        assert "result" not in line
        assert {"message", "error"} <= set(line)


def test_an_existing_topic_is_used_and_none_is_created(aws, cleanup, deploy):
    topic = aws.sns.create_topic(Name="mine")["TopicArn"]
    cleanup(aws.sns.delete_topic, TopicArn=topic)
    key = aws.kms.create_key()["KeyMetadata"]["Arn"]
    stack = deploy(
        "existing", WebhookSecret=KEY, ExistingTopicArn=topic, TopicKmsKeyArn=key, ReservedConcurrency="none"
    )
    assert "Topic" not in stack.resources
    assert stack.outputs["TopicArn"] == topic
    queue = deploy("queue", SUBSCRIBERS / "queue.yaml", WebhookStack="existing")
    assert stack.status(KEY) == 200
    assert [body for body, _ in take(aws.sqs, queue.outputs["QueueUrl"], 1)] == [SUCCESS.decode()]
    assert stack.alarms()["UndeliveredOutcomes"]["Dimensions"] == [{"Name": "TopicName", "Value": "mine"}]


def test_an_http_api_replaces_the_function_url(aws, deploy, release):
    template = release.folder / "http-api.yaml"
    template.write_text(operations.template_with_http_api(release.folder))
    stack = deploy("http-api", template, WebhookSecret=KEY)
    assert "FunctionUrl" not in stack.resources
    # SAM puts these into an OpenAPI document, which the emulator's CloudFormation ignores.
    gateway, api = boto3.client("apigatewayv2"), stack.resources["ServerlessHttpApi"]
    function = aws.functions.get_function(FunctionName=stack.outputs["FunctionName"])["Configuration"]["FunctionArn"]
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    gateway.create_route(ApiId=api, RouteKey="POST /", Target=f"integrations/{integration}")
    url = stack.outputs["WebhookUrl"]
    assert url == f"https://{api}.execute-api.us-east-1.amazonaws.com/"
    # The emulator uses this name.
    url = url.replace("us-east-1.amazonaws.com", "localhost")
    assert aws.send(url, Webhook(SUCCESS, KEY))[0] == 200
    assert aws.send(url, Webhook(SUCCESS, NOBODYS_KEY)) == REJECTION
    assert stack.results() == ["published", "signature_mismatch"]


def test_cargo_lambda_deploys_the_function(aws, cleanup, package, tmp_path):
    topic = aws.sns.create_topic(Name="pollo-outcomes")["TopicArn"]
    cleanup(aws.sns.delete_topic, TopicArn=topic)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = aws.iam.create_role(RoleName="by-hand", AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    cleanup(aws.iam.delete_role, RoleName="by-hand")
    publish = {"Effect": "Allow", "Action": "sns:Publish", "Resource": topic}
    aws.iam.put_role_policy(RoleName="by-hand", PolicyName="publish", PolicyDocument=policy(publish))
    cleanup(aws.iam.delete_role_policy, RoleName="by-hand", PolicyName="publish")
    settings = tmp_path / "deploy.env"
    settings.write_text(f'WEBHOOK_SECRET="{KEY}"\nSNS_TOPIC_ARN={topic}\n')

    def cargo_lambda(*words):
        run(TOOLS / "cargo-lambda", "lambda", *words, PATH=PATH, SSL_CERT_FILE=str(aws.certificate))

    cargo_lambda("build", "--release", "--locked")
    # Both ways give the same binary, so measurements apply to both.
    assert (CHECKOUT / "target" / "lambda" / "pollo-webhook" / "bootstrap").read_bytes() == bootstrap(package)
    options = ["--enable-function-url", "--memory", "256", "--timeout", "15", "--tracing", "active"]
    options += ["--role", role, "--env-file", settings, "--endpoint-url", os.environ["AWS_ENDPOINT_URL"]]
    cargo_lambda("deploy", *options, "pollo-webhook")
    cleanup(aws.logs.delete_log_group, logGroupName="/aws/lambda/pollo-webhook")
    cleanup(aws.functions.delete_function, FunctionName="pollo-webhook")

    url = aws.functions.get_function_url_config(FunctionName="pollo-webhook")["FunctionUrl"]
    assert aws.send(url, Webhook(SUCCESS, KEY))[0] == 200
    assert aws.send(url, Webhook(SUCCESS, NOBODYS_KEY)) == REJECTION
    statements = json.loads(aws.functions.get_policy(FunctionName="pollo-webhook")["Policy"])["Statement"]
    # URLs created since October 2025 need both permissions. cargo-lambda adds the second since 1.9.2.
    assert {statement["Action"] for statement in statements} == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
