"""Where the key is stored, and how it is rotated."""

import pytest

from local.emulators import KEY
from tests import operations
from tests.stack.deployment import OTHER_KEY, Stack, sam_deploy_stack
from tests.stack.emulated_aws import attempt

pytestmark = pytest.mark.stack

OLD, BOTH, NEW = [{"old": old, "new": new} for old, new in [(200, 401), (200, 200), (401, 200)]]


@pytest.fixture
def secret(aws, cleanup):
    """The ARN of a Secrets Manager secret with the key."""
    secret = aws.secretsmanager.create_secret(Name="pollo-webhook-key", SecretString=KEY)["ARN"]
    cleanup(aws.secretsmanager.delete_secret, SecretId=secret, ForceDeleteWithoutRecovery=True)
    return secret


def assert_accepts_now_and_after_an_update(stack, release, expected):
    assert stack.statuses() == expected
    release.update()
    assert stack.statuses() == expected


def test_a_key_rotation_loses_no_webhook_and_survives_updates(release):
    stack = release.guided(WebhookSecret=KEY)
    assert stack.statuses() == OLD
    for keys, expected in [(f"{KEY},{OTHER_KEY}", BOTH), (OTHER_KEY, NEW)]:
        release.deploy(WebhookSecret=keys)
        assert_accepts_now_and_after_an_update(stack, release, expected)


def test_the_key_moves_to_secrets_manager_and_back(aws, secret, release):
    stack = release.guided(WebhookSecret=OTHER_KEY)
    assert stack.statuses() == NEW

    release.edit(WebhookSecretName="pollo-webhook-key")
    release.deploy(WebhookSecret="", WebhookSecretName="pollo-webhook-key")
    assert_accepts_now_and_after_an_update(stack, release, OLD)
    for value, expected in [(f"{KEY},{OTHER_KEY}", BOTH), (OTHER_KEY, NEW)]:
        version = aws.secretsmanager.put_secret_value(SecretId=secret, SecretString=value)["VersionId"]
        release.edit(WebhookSecretVersion=version)
        release.deploy()
        assert_accepts_now_and_after_an_update(stack, release, expected)

    release.edit(WebhookSecretName="", WebhookSecretVersion="")
    release.deploy(WebhookSecret=KEY, WebhookSecretName="", WebhookSecretVersion="")
    assert_accepts_now_and_after_an_update(stack, release, OLD)


@pytest.mark.usefixtures("secret")
def test_the_first_deployment_can_read_the_key_from_secrets_manager(aws, release):
    section = "[default.deploy.parameters]\n"
    settings = f"{section}{operations.settings_with_secrets_manager()}\n"
    release.config.write_text(release.config.read_text().replace(section, settings))
    release.deploy()
    assert Stack(aws, "pollo-webhook").statuses() == OLD


def test_keys_can_be_on_separate_lines(deploy):
    assert deploy(WebhookSecret=f"{KEY}\n{OTHER_KEY}").statuses() == BOTH


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({}, "Set exactly one of WebhookSecret and WebhookSecretName"),
        ({"WebhookSecret": KEY, "WebhookSecretName": "pollo-webhook-key"}, "Set exactly one of WebhookSecret and"),
        ({"WebhookSecret": KEY, "WebhookSecretVersion": "1"}, "WebhookSecretVersion is the version of a secret"),
        ({"WebhookSecret": "not%Base64"}, "must be a Base64 key, or several Base64 keys"),
        ({"WebhookSecret": KEY, "ExistingTopicArn": "mine"}, "must be the ARN of an SNS topic"),
    ],
)
def test_an_invalid_parameter_is_reported_without_the_key(aws, cleanup, package, parameters, sentence):
    rejected = attempt(*sam_deploy_stack("rejected", **parameters), cwd=package)
    # SAM deletes its uploads with the stack, but no stack was created.
    for bucket, key in aws.archives():
        cleanup(aws.s3.delete_object, Bucket=bucket, Key=key)
    assert rejected.returncode != 0
    assert sentence in " ".join(rejected.stdout.split())
    assert KEY not in rejected.stdout
