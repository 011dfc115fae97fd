"""Finds unpublished outcomes in the log of the function."""

import json

import pytest

from operate.unpublished import PATTERN, unpublished

REPLAYED = ["not_published", "timestamp_outside_tolerance", "timestamp_unreadable", "not_an_outcome", "too_large"]
OTHERS = [
    "published",
    "signature_mismatch",
    "header_missing",
    "header_unreadable",
    "method_not_allowed",
    "not_configured",
    "panic",
]

BODY = '{"taskId":"t1","status":"succeed","generations":[{"url":"https://videos.example.com/1.mp4"}]}'


def line(result, task_id="t1", status="succeed", webhook_id="msg_1", **fields):
    """A log line of the function, with the relevant fields."""
    known = {"result": result, "taskId": task_id, "status": status, "webhookId": webhook_id, **fields}
    return json.dumps({name: value for name, value in known.items() if value is not None})


def listed(*lines):
    """The unpublished outcomes in log lines, with one line per millisecond."""
    return unpublished(enumerate(lines, start=1))


def names(*lines):
    return [(outcome.task_id, outcome.status) for outcome in listed(*lines)]


@pytest.mark.parametrize("result", REPLAYED)
def test_each_result_of_an_unpublished_outcome_is_listed(result):
    [outcome] = listed(line(result, body=BODY))
    assert (outcome.task_id, outcome.status, outcome.body) == ("t1", "succeed", BODY.encode())
    assert outcome.reason == result


@pytest.mark.parametrize("result", OTHERS)
def test_other_results_are_not_listed(result):
    assert listed(line(result, body=BODY)) == []


def test_all_tries_of_an_outcome_are_one_row():
    [outcome] = listed(*[line("not_published", body=BODY)] * 10, line("timestamp_outside_tolerance", body=BODY))
    assert (outcome.tries, outcome.first_try, outcome.last_try) == (11, 1, 11)
    assert outcome.reason == "timestamp_outside_tolerance"


def test_a_row_has_the_error_code_of_sns():
    [outcome] = listed(line("not_published", body=BODY, code="KMSAccessDenied"))
    assert outcome.reason == "not_published (KMSAccessDenied)"


def test_an_outcome_that_any_try_published_is_not_listed():
    assert listed(line("not_published"), line("not_published"), line("published", webhook_id="msg_2")) == []
    assert listed(line("published"), line("timestamp_outside_tolerance")) == []


def test_two_outcomes_of_one_task_are_two_rows():
    failed, succeed = line("not_published", status="failed"), line("not_published", status="succeed")
    assert names(failed, succeed, failed) == [("t1", "failed"), ("t1", "succeed")]
    assert names(failed, succeed, line("published", status="failed")) == [("t1", "succeed")]


def test_outcomes_are_sorted_the_oldest_first():
    rows = names(line("not_published", "t2"), line("not_published", "t1"), line("published", "t3"))
    assert rows == [("t2", "succeed"), ("t1", "succeed")]


@pytest.mark.parametrize(
    "body",
    [
        ' { "status":\t"succeed",\r\n "taskId": "é \\u00e9 \\\\ \\" 😀 \u2028", "n": 1.50e+1 }\n',
        "",
        "[]",
        "\ufeff{}",
    ],
)
def test_a_text_body_is_kept_byte_for_byte(body):
    [outcome] = listed(line("not_an_outcome", body=body))
    assert outcome.body == body.encode()


def test_a_base64_body_is_kept_byte_for_byte():
    [outcome] = listed(line("not_an_outcome", None, None, bodyBase64="eyJhIjoi6QAiff8="))
    assert outcome.body == b'{"a":"\xe9\x00"}\xff'


@pytest.mark.parametrize("fields", [{}, {"bodyBytes": 300_000}, {"bodyBase64": "bm90%IHRoZQ=="}, {"body": "\ud800"}])
def test_an_outcome_without_a_readable_body_in_the_log_has_no_body(fields):
    [outcome] = listed(line("not_published", **fields))
    assert outcome.body is None


def test_the_last_body_and_its_webhook_id_are_used():
    first, last = (
        line("not_published", webhook_id="msg_1", body="1"),
        line("not_published", webhook_id="msg_2", body="2"),
    )
    too_large = line("not_published", webhook_id="msg_3", bodyBytes=300_000)
    [outcome] = listed(first, last, too_large)
    assert (outcome.body, outcome.webhook_id) == (b"2", "msg_2")
    [outcome] = listed(too_large, first)
    assert (outcome.body, outcome.webhook_id) == (b"1", "msg_1")


@pytest.mark.parametrize(("task_id", "status"), [(None, None), ("t1", None), (None, "succeed"), ("", "succeed")])
def test_outcomes_without_a_task_id_or_status_are_distinguished_by_their_bodies(task_id, status):
    tries = [line("not_an_outcome", task_id, status, body=body) for body in ["[1]", "[2]", "[1]"]]
    assert [(outcome.body, outcome.tries) for outcome in listed(*tries)] == [(b"[1]", 2), (b"[2]", 1)]


def test_outcomes_without_a_body_are_distinguished_by_their_webhook_ids():
    tries = [line("not_an_outcome", None, None, id, bodyBytes=300_000) for id in ["msg_1", "msg_2", "msg_1"]]
    assert [(outcome.webhook_id, outcome.tries) for outcome in listed(*tries)] == [("msg_1", 2), ("msg_2", 1)]


def test_an_outcome_without_a_task_id_is_not_listed_if_its_webhook_was_published():
    unknown = line("not_an_outcome", None, None, "msg_1", body="{}")
    assert listed(unknown, line("published", "t1", "succeed", "msg_1")) == []
    assert len(listed(unknown, line("published", "t1", "succeed", "msg_2"))) == 1


def test_two_outcomes_with_the_same_webhook_id_are_distinguished():
    assert names(line("not_published", "t1"), line("published", "t2")) == [("t1", "succeed")]


def test_smoke_tests_are_not_listed():
    assert names(line("not_published", "smoke-1795600489"), line("not_published", "t-smoke-1")) == [
        ("t-smoke-1", "succeed")
    ]


@pytest.mark.parametrize(
    "message",
    [
        "START RequestId: 8f0f2f86-6c1f-4b8e-9d3f-4b3f2c1d0e9a Version: $LATEST",
        '{"time":"2026-11-25T03:12:40Z","type":"platform.report","record":{"status":"success"}}',
        '{"result":"not_published","taskId":"cut off in the mid',
        '["not_published"]',
        '"not_published"',
        '{"result":["not_published"]}',
        '{"result":null}',
        "null",
        "",
    ],
)
def test_other_log_lines_are_ignored(message):
    assert listed(message) == []


def test_fields_of_wrong_types_are_ignored():
    message = json.dumps({"result": "not_an_outcome", "taskId": 1, "status": ["succeed"], "webhookId": {}, "body": 2})
    [outcome] = listed(message)
    assert (outcome.task_id, outcome.status, outcome.webhook_id, outcome.body) == (None, None, None, None)


def test_the_filter_pattern_selects_the_relevant_results():
    assert PATTERN == (
        '{ $.result = "published" || $.result = "not_published" || $.result = "timestamp_outside_tolerance" || '
        '$.result = "timestamp_unreadable" || $.result = "not_an_outcome" || $.result = "too_large" }'
    )
    # The limit of CloudWatch.
    assert len(PATTERN) <= 1024
