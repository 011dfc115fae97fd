"""The log of the function: what each result means to the template's metrics and alarms, to replay and to the runbook."""

import json
import operator
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
REJECTED = ["AuthenticRejected"]


class Template(yaml.SafeLoader):
    """Reads the template without CloudFormation's functions."""


Template.add_multi_constructor("!", lambda *_: None)
RESOURCES = yaml.load((CHECKOUT / "template.yaml").read_text(), Template)["Resources"]


def of_type(name):
    return {key: value["Properties"] for key, value in RESOURCES.items() if value["Type"] == f"AWS::{name}"}


# The patterns by the names of the metrics.
FILTERS = {
    properties["MetricTransformations"][0]["MetricName"]: " ".join(properties["FilterPattern"].split())
    for properties in of_type("Logs::MetricFilter").values()
}


MATCHES = {"=": operator.eq, ">=": operator.ge}


def counted(line):
    """The names of the metrics that count a line: those with a filter of which one term matches."""
    for name, pattern in FILTERS.items():
        terms = re.findall(r'\$\.(\w+) (=|>=) ("\w+"|\d+)', pattern)
        # The pattern has no other parts.
        assert pattern == "{ " + " || ".join(f"$.{' '.join(term)}" for term in terms) + " }"
        if any(field in line and MATCHES[sign](line[field], json.loads(value)) for field, sign, value in terms):
            yield name


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
    # The topic, the settings of the webhook, the status, the result, its metrics, and whether replay takes it.
    cases = [
        (topic, {}, 200, "published", ["Published", "SnsMilliseconds"], False),
        (topic, {"id": ""}, 400, "header_missing", ["HeadersUnreadable"], False),
        (topic, {"id": "\ufffe"}, 400, "header_unreadable", ["HeadersUnreadable"], False),
        (topic, {"key": NOBODYS_KEY}, 401, "signature_mismatch", ["SignatureMismatch"], False),
        (topic, {"timestamp": "soon"}, 400, "timestamp_unreadable", REJECTED, True),
        (topic, {"timestamp": early}, 401, "timestamp_outside_tolerance", REJECTED, True),
        (topic, {"timestamp": late}, 401, "timestamp_outside_tolerance", REJECTED, True),
        (topic, {"body": SUCCESS.ljust(1 << 20)}, 413, "too_large", REJECTED, True),
        (topic, {"body": b"[]"}, 422, "not_an_outcome", REJECTED, True),
        (f"{topic}-gone", {}, 503, "not_published", ["NotPublished", "SnsMilliseconds"], True),
    ]
    for place, webhook, status, result, counting, replayed in cases:
        with runtime(binary, timeout, **settings, SNS_TOPIC_ARN=place) as function:
            made = event(Webhook(**{"body": SUCCESS, "key": KEY, **webhook}))
            response, [line], written = function.invoke(made)
        assert (response["statusCode"], line["httpStatus"], line["result"]) == (status, status, result)
        assert f"START RequestId: {line['requestId']} Version: $LATEST" in written
        assert leaks(f"{response} {written}", {"WEBHOOK_SECRET": KEY, **ROLE}) == []
        assert sorted(counted(line)) == counting, result
        assert result == "published" or result in runbook_names(counting[0]), result
        assert (result in NOT_PUBLISHED) == replayed, result
    # Nothing was left out. test_runtime.py has the results without metrics, which Lambda counts as errors.
    assert {metric for case in cases for metric in case[4]} == set(FILTERS)
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
