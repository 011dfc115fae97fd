"""The log of the function: what each result means to the template's metrics and alarms, to replay and to the runbook."""

import json
import re
import sys
import time

import pytest
import yaml

from local.emulators import CHECKOUT, KEY
from operate.log import NOT_PUBLISHED
from operate.pollo import NOBODYS_KEY, Webhook, key_bytes
from tests.end_to_end.conftest import ROLE, SUCCESS
from tests.end_to_end.rie import event, runtime
from tests.leaks import leaks

RUNBOOK = (CHECKOUT / "docs" / "operations.md").read_text()


class Template(yaml.SafeLoader):
    """Reads the template without CloudFormation's functions."""


Template.add_multi_constructor("!", lambda *_: None)
RESOURCES = yaml.load((CHECKOUT / "template.yaml").read_text(), Template)["Resources"]


def of_type(name):
    return {key: value["Properties"] for key, value in RESOURCES.items() if value["Type"] == f"AWS::{name}"}


def counted(pattern):
    """The results that a filter pattern counts."""
    terms = re.findall(r'\$\.result = "\w+"', pattern)
    # The pattern has no other parts.
    assert " ".join(pattern.split()) == "{ " + " || ".join(terms) + " }"
    return [json.loads(term.removeprefix("$.result = ")) for term in terms]


# What each metric counts.
METRICS = {
    properties["MetricTransformations"][0]["MetricName"]: counted(properties["FilterPattern"])
    for properties in of_type("Logs::MetricFilter").values()
}


def runbook_names(metric):
    """The words that the runbook explains under the alarm of a metric."""
    [alarm] = [name for name, alarm in of_type("CloudWatch::Alarm").items() if alarm["MetricName"] == metric]
    section = re.split(r"^#+ ", RUNBOOK.partition(f"### `{alarm}`\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"`(\w+)`", section)


@pytest.mark.skipif(sys.platform != "linux", reason="AWS's emulator runs on Linux only")
@pytest.mark.parametrize("timeout", [15, 3])
def test_each_result_is_counted_explained_and_replayed_as_it_must_be(binary, sns, topic, queue, timeout):
    settings = {**ROLE, "WEBHOOK_TOLERANCE_SECONDS": "300", "AWS_ENDPOINT_URL_SNS": sns.url}
    early, late = [str(int(time.time()) + seconds) for seconds in [600, -600]]
    # The topic, the settings of the webhook, the status, the result, its metric, and whether replay takes it.
    cases = [
        (topic, {}, 200, "published", "Published", False),
        (topic, {"id": ""}, 400, "header_missing", "HeadersUnreadable", False),
        (topic, {"id": "\ufffe"}, 400, "header_unreadable", "HeadersUnreadable", False),
        (topic, {"key": NOBODYS_KEY}, 401, "signature_mismatch", "SignatureMismatch", False),
        (topic, {"timestamp": "soon"}, 400, "timestamp_unreadable", "AuthenticRejected", True),
        (topic, {"timestamp": early}, 401, "timestamp_outside_tolerance", "AuthenticRejected", True),
        (topic, {"timestamp": late}, 401, "timestamp_outside_tolerance", "AuthenticRejected", True),
        (topic, {"body": SUCCESS.ljust(1 << 20)}, 413, "too_large", "AuthenticRejected", True),
        (topic, {"body": b"[]"}, 422, "not_an_outcome", "AuthenticRejected", True),
        (f"{topic}-gone", {}, 503, "not_published", "NotPublished", True),
    ]
    for place, webhook, status, result, metric, replayed in cases:
        with runtime(binary, timeout, **settings, SNS_TOPIC_ARN=place) as function:
            made = event(Webhook(**{"body": SUCCESS, "key": KEY, **webhook}))
            response, [line], written = function.invoke(made)
        assert (response["statusCode"], line["httpStatus"], line["result"]) == (status, status, result)
        assert f"START RequestId: {line['requestId']} Version: $LATEST" in written
        assert leaks(f"{response} {written}", {"WEBHOOK_SECRET": KEY, **ROLE}) == []
        assert [name for name, results in METRICS.items() if line["result"] in results] == [metric]
        assert result == "published" or result in runbook_names(metric), result
        assert (result in NOT_PUBLISHED) == replayed, result
    # Nothing was left out. test_runtime.py has the results without metrics, which Lambda counts as errors.
    assert {case[3] for case in cases} == {result for results in METRICS.values() for result in results}
    assert set(NOT_PUBLISHED) < {case[3] for case in cases}
    assert {"not_configured", "panic"} <= {*runbook_names("Errors")}
    assert len(queue.take()) == 1


def test_the_check_finds_a_logged_key_or_signature():
    signature = Webhook(b"{}", KEY).headers()["X-Webhook-Signature"]
    environment = {"WEBHOOK_SECRET": f"{NOBODYS_KEY},{KEY}", "AWS_SECRET_ACCESS_KEY": "secret/of+the+role"}
    raw = key_bytes(KEY)
    for leak in [KEY, raw.hex(), str(list(raw)), repr(raw), signature, "secret/of+the+role", "c3e1f0a9" * 8]:
        assert leaks(f'{{"result":"published","detail":"{leak}"}}', environment) != [], leak
    assert leaks(f'{{"result":"published","webhookId":"msg_1","bodySha256":"{"c3e1f0a9" * 8}"}}', environment) == []
