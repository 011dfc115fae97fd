"""The log of the function: what each result means to the template's metrics and alarms, to replay and to the runbook."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
import yaml

from local.emulators import CHECKOUT, KEY
from operate.pollo import NOBODYS_KEY, Webhook, key_bytes
from tests.end_to_end.exchange import event, invoke
from tests.leaks import leaks

RUNBOOK = (CHECKOUT / "docs" / "operations.md").read_text()
REJECTED = ["AuthenticRejected"]


class Template(yaml.SafeLoader):
    """Reads the template without CloudFormation's functions."""


Template.add_multi_constructor("!", lambda *_: None)
RESOURCES = yaml.load((CHECKOUT / "template.yaml").read_text(), Template)["Resources"]


def of_type(name):
    return {key: value["Properties"] for key, value in RESOURCES.items() if value["Type"] == f"AWS::{name}"}


def counted(line):
    """The names of the metrics that count a line: those with a filter of which one term matches."""
    for properties in of_type("Logs::MetricFilter").values():
        pattern = " ".join(properties["FilterPattern"].split())
        terms = re.findall(r'\$\.(\w+) (=|>=) ("\w+"|\d+)', pattern)
        # The pattern has no other parts.
        assert pattern == "{ " + " || ".join(f"$.{' '.join(term)}" for term in terms) + " }"
        for field, operator, operand in terms:
            value, operand = line.get(field), json.loads(operand)
            if value == operand if operator == "=" else isinstance(value, int | float) and value >= operand:
                yield properties["MetricTransformations"][0]["MetricName"]
                break


def runbook_names(metric):
    """The words that the runbook explains under the alarm of a metric."""
    [alarm] = [name for name, alarm in of_type("CloudWatch::Alarm").items() if alarm["MetricName"] == metric]
    section = re.split(r"^#+ ", RUNBOOK.partition(f"### `{alarm}`\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"`(\w+)`", section)


@pytest.fixture
def replayed(sns, httpserver):
    """Runs `make replay DRY=1`, without make, with a log of these lines. Returns what it prints."""
    outputs = {"WebhookUrl": "http://127.0.0.1:9/", "TopicArn": sns.topic("replayed"), "FunctionName": "f"}
    members = [
        f"<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>"
        for key, value in {**outputs, "LogGroupName": "log"}.items()
    ]
    stack = f"<member><StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{''.join(members)}</Outputs></member>"
    described = f"<DescribeStacksResult><Stacks>{stack}</Stacks></DescribeStacksResult>"
    httpserver.expect_request("/").respond_with_data(f"<DescribeStacksResponse>{described}</DescribeStacksResponse>")

    def replayed(lines):
        logs = sns.session.client("logs", endpoint_url=sns.url)
        logs.create_log_group(logGroupName="log")
        logs.create_log_stream(logGroupName="log", logStreamName="1")
        events = [{"timestamp": int(time.time() * 1000), "message": json.dumps(line)} for line in lines]
        logs.put_log_events(logGroupName="log", logStreamName="1", logEvents=events)
        local = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": "us-east-1"}
        urls = {"AWS_ENDPOINT_URL": sns.url, "AWS_ENDPOINT_URL_CLOUDFORMATION": httpserver.url_for("/")}
        environment = {**os.environ, **local, **urls, "WEBHOOK_SECRET": KEY, "STACK": "replayed", "DRY": "1"}
        command = [sys.executable, "-m", "operate.replay"]
        return subprocess.run(
            command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    return replayed


def test_each_result_is_counted_explained_and_replayed_as_it_must_be(start, binary, topic, queue, replayed):
    function, broken = start(SNS_TOPIC_ARN=topic), start(SNS_TOPIC_ARN="arn:aws:sns:us-east-1:123456789012:gone")
    early, late = [str(int(time.time()) + seconds) for seconds in [600, -600]]
    lines, metrics = [], {"Published", "NotPublished"}
    # The function, the settings of the webhook, its status, and the result, its metrics, and whether replay finds it.
    for number, (receiver, settings, status, result, counting, found) in enumerate(
        [
            (function, {}, 200, "published", ["Published", "SnsMilliseconds"], False),
            (function, {"id": ""}, 400, "header_missing", ["HeadersUnreadable"], False),
            (function, {"id": "\ufffe"}, 400, "header_unreadable", ["HeadersUnreadable"], False),
            (function, {"key": NOBODYS_KEY}, 401, "signature_mismatch", ["SignatureMismatch"], False),
            (function, {"key": NOBODYS_KEY, "bytes": 1 << 20}, 401, "signature_mismatch", ["SignatureMismatch"], False),
            (function, {"timestamp": "soon"}, 400, "timestamp_unreadable", REJECTED, True),
            (function, {"timestamp": early}, 401, "timestamp_outside_tolerance", REJECTED, True),
            (function, {"timestamp": late}, 401, "timestamp_outside_tolerance", REJECTED, True),
            (function, {"bytes": 1 << 20}, 413, "too_large", REJECTED, True),
            (function, {"status": "done"}, 422, "not_an_outcome", REJECTED, True),
            (broken, {}, 503, "not_published", ["NotPublished", "SnsMilliseconds"], True),
        ]
    ):
        body = {"taskId": f"task-{number}-of-this-test", "status": settings.pop("status", "succeed")}
        body = json.dumps(body).encode().ljust(settings.pop("bytes", 0))
        webhook = Webhook(body, **{"key": KEY, **settings})
        _, response = invoke(receiver.url, event(webhook))
        line = json.loads(receiver.log())
        assert (json.loads(response)["statusCode"], line["result"]) == (status, result)
        assert sorted(counted(line)) == counting, result
        assert result == "published" or result in runbook_names(counting[0]), result
        lines.append((line, f"task-{number}-of-this-test" if found else None))
        metrics |= {*counting}
    # test_runtime.py has these two, which Lambda counts as its own metric.
    assert {"not_configured", "panic"} <= {*runbook_names("Errors")}
    # No metric was left out, and replay finds what is authentic and unpublished.
    assert metrics == {p["MetricTransformations"][0]["MetricName"] for p in of_type("Logs::MetricFilter").values()}
    shown = replayed([line for line, _ in lines])
    assert set(re.findall(r"task-\d+-of-this-test", shown)) == {task for _, task in lines if task}
    assert len(queue.take()) == 1


def test_the_check_finds_a_logged_key_or_signature():
    signature = Webhook(b"{}", KEY).headers()["X-Webhook-Signature"]
    environment = {"WEBHOOK_SECRET": f"{NOBODYS_KEY},{KEY}", "AWS_SECRET_ACCESS_KEY": "secret/of+the+role"}
    raw = key_bytes(KEY)
    for leak in [KEY, raw.hex(), str(list(raw)), repr(raw), signature, "secret/of+the+role", "c3e1f0a9" * 8]:
        assert leaks(f'{{"result":"published","detail":"{leak}"}}', environment) != [], leak
    assert leaks(f'{{"result":"published","webhookId":"msg_1","bodySha256":"{"c3e1f0a9" * 8}"}}', environment) == []
