"""`make replay`, with a log as the function writes it."""

import hashlib
import json
import re
import time

import pytest
from werkzeug import Response

from tests.operate.conftest import KEY, OTHER_KEY, PUBLISHED, accepts, is_signed, line

VIDEO = '{"taskId":"t1","status":"succeed",\r\n "generations":[{"url":"https:\\/\\/a/ü"}], "n":1.50}\n'
MASKED = VIDEO.replace("https", "*****")
UTC = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
REPLAYED = ["not_published", "timestamp_outside_tolerance", "timestamp_unreadable", "not_an_outcome", "too_large"]
OTHERS = ["signature_mismatch", "header_missing", "header_unreadable", "method_not_allowed", "not_configured", "panic"]
HOUR, DAY = 3600, 86_400


def shown(printed):
    """The rows of the table in `printed`, each as a list of cells without the times."""
    rows = [row for row in printed.splitlines() if re.search(f"{UTC}  {UTC}|LAST TRY", row)]
    return [re.split(" {2,}", re.sub(f" *{UTC}  {UTC}", "", row)) for row in rows]


def tasks(printed):
    return [row[0] for row in shown(printed)[1:]]


def failed(task_id="t1", body=VIDEO, result="not_published", **fields):
    """A line of an authentic webhook that was not published, with the digest of its body."""
    return line(result, task_id, body=body, bodySha256=hashlib.sha256(body.encode()).hexdigest(), **fields)


def ago(seconds):
    return str(int(time.time() - seconds))


def test_an_unpublished_outcome_is_sent_unchanged_with_a_new_signature(stack, function):
    stack.has_logged(failed(webhook_id="msg_2abc", webhookTimestamp=ago(3 * HOUR)), ago=3 * HOUR)
    stack.has_logged(*[failed(webhook_id="msg_2abc", code="InternalError", webhookTimestamp=ago(2 * HOUR))] * 10)
    printed = stack.run("replay", WEBHOOK_SECRET=f"{KEY}\n{OTHER_KEY}")
    assert shown(printed)[1:] == [["t1", "succeed", "not_published (InternalError)", "11", "2h"]]
    assert f"Warning: {stack.topic} has no confirmed subscription." in printed
    assert printed.endswith("\nt1  succeed  published, message id 5b9f6a2e-0001\nPublished 1 of 1.\n")
    [tries] = re.findall(f" 2h +({UTC})  ({UTC})", printed)
    for text, seconds in zip(tries, [3 * HOUR, 60], strict=True):
        assert text in [time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - seconds - n)) for n in range(60)]
    [request] = function.requests
    assert is_signed(request)
    assert function.bodies == [VIDEO.encode()]
    assert request.headers["X-Webhook-Id"] == "msg_2abc"
    assert request.headers["Content-Type"] == "application/octet-stream"
    assert abs(int(request.headers["X-Webhook-Timestamp"]) - time.time()) < 60


def test_only_unpublished_outcomes_are_replayed_and_the_oldest_first(stack, function, double):
    stack.has_logged(
        failed("t1", "1"),
        *[failed(f"t-{result}", f"{number}", result) for number, result in enumerate(REPLAYED)],
        *[failed(f"t-{result}", "other", result) for result in OTHERS],
        "START RequestId: 8f0f2f86-6c1f-4b8e-9d3f-4b3f2c1d0e9a Version: $LATEST",
        '{"result":"not_published","taskId":"cut off in the mid',
        '["not_published"]',
        line("not_an_outcome", None, None, "msg_4", bodyBase64="/w=="),
        failed("smoke-1"),
        line("published", "t1"),
    )
    other = double("/other", accepts(KEY))
    printed = stack.run("replay", URL=f"{other.url}?a=b")
    assert shown(printed) == [
        ["TASK", "STATUS", "REASON", "TRIES", "AGE", "FIRST TRY (UTC)", "LAST TRY (UTC)"],
        *[[f"t-{result}", "succeed", result, "1", "-"] for result in REPLAYED],
        ["webhook msg_4", "-", "not_an_outcome", "1", "-"],
    ]
    assert (other.bodies, function.bodies) == ([b"0", b"1", b"2", b"3", b"4", b"\xff"], [])
    assert printed.endswith("\nPublished 6 of 6.\n")


@pytest.mark.parametrize(
    ("settings", "failed_ago", "published_ago", "found"),
    [
        ({}, HOUR, None, ["t1"]),
        ({"SINCE": "30m"}, HOUR, None, []),
        ({"UNTIL": "30m"}, HOUR, None, ["t1"]),
        ({"SINCE": "3h", "UNTIL": "2h"}, HOUR, None, []),
        ({}, HOUR, HOUR + 60, []),
        ({"UNTIL": "30m"}, HOUR, 60, []),
        ({"SINCE": "30m"}, 600, 13 * DAY, []),
    ],
)
def test_it_lists_what_failed_in_the_window_and_was_never_published(
    stack, function, settings, failed_ago, published_ago, found
):
    if published_ago:
        stack.has_logged(line("published", webhook_id="msg_2"), ago=published_ago)
    stack.has_logged(line("published", status="failed"), failed(), ago=failed_ago)
    printed = stack.run("replay", DRY="1", WEBHOOK_SECRET=None, **settings)
    assert ("Nothing to replay" in printed) == (not found)
    assert (tasks(printed), function.requests) == (found, [])


@pytest.mark.parametrize("timestamp", [ago(80 * HOUR), f"{ago(80 * HOUR)}000", "2026-01-01T00:00:00Z"])
def test_a_webhook_that_was_signed_before_since_is_listed_but_not_sent(stack, function, timestamp):
    stack.has_logged(failed(webhookTimestamp=timestamp), failed("t2", "{}", webhookTimestamp=ago(120)))
    printed = stack.run("replay")
    assert tasks(printed) == ["t1", "t2"]
    assert "t1 is not sent: signed before SINCE. Perhaps somebody sends a captured webhook again." in printed
    assert re.search(r"t1 .*  (80h|\d{4}h)  ", printed)
    assert printed.endswith("\nPublished 1 of 1.\n")
    assert function.bodies == [b"{}"]
    # The newest signature counts.
    stack.has_logged(failed(webhookTimestamp=ago(90)), failed(webhookTimestamp=timestamp))
    assert stack.run("replay").endswith("Published 2 of 2.\n")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"body": MASKED, "bodySha256": "0"}, "the body in the log is not as Pollo signed it."),
        # A line of version 0.2.
        ({"body": MASKED}, "the body in the log is not as Pollo signed it."),
        ({"bodyBytes": 40_000}, "the log keeps no body over 30,000 bytes."),
        ({"bodyBase64": "bm90%IHRoZQ=="}, "the log keeps no body"),
        ({"body": "\ud800"}, "the log keeps no body"),
        ({"body": 2}, "the log keeps no body"),
    ],
)
def test_only_a_body_that_is_as_pollo_signed_it_is_sent(stack, function, fields, reason):
    stack.has_logged(line("not_published", **fields), failed("t2", "{}"))
    printed = stack.run("replay", exits=1)
    assert f"\nt1 is not sent: {reason}" in printed
    assert printed.endswith("\nPublished 1 of 2.\n")
    assert function.bodies == [b"{}"]
    # A line of version 0.2 without a digest, and a later one without a usable body.
    stack.has_logged(line("not_published", webhook_id="msg_3", body=VIDEO), line("not_published", **fields))
    stack.run("replay")
    assert function.bodies[1:] == [VIDEO.encode(), b"{}"]
    assert function.requests[1].headers["X-Webhook-Id"] == "msg_3"


@pytest.fixture
def cloudwatch(double, stack):
    """Replaces CloudWatch. `respond` returns a response, or the lines of a page and the next token."""

    def start(respond):
        def page(request):
            answer = respond(json.loads(request.get_data()))
            if isinstance(answer, Response):
                return answer
            events = [{"timestamp": int(time.time() * 1000) - 60_000, "message": line} for line in answer[0]]
            return Response(json.dumps({"events": events, "nextToken": answer[1]}))

        logs = double("/logs", page)
        stack.environment["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"] = logs.url
        return logs

    return start


def denied():
    return Response('{"__type":"AccessDeniedException","message":"User: \\u001b[31moperator"}', 400)


def test_all_pages_of_the_log_are_read_unmasked(stack, function, cloudwatch):
    pages = {None: ([failed()], "a"), "a": ([], "b"), "b": ([failed("t2")], None)}
    logs = cloudwatch(lambda asked: pages[asked.get("nextToken")])
    printed = stack.run("replay", SINCE="15d")
    asked = [json.loads(body) for body in logs.bodies]
    assert all(each["unmask"] and each["startTime"] < each["endTime"] for each in asked)
    assert re.findall(r'\$\.result = "(\w+)"', asked[0]["filterPattern"]) == ["published", *REPLAYED]
    # The limit of CloudWatch.
    assert len(asked[0]["filterPattern"]) <= 1024
    assert (tasks(printed), len(function.requests)) == (["t1", "t2"], 2)


def test_without_the_permission_to_unmask_it_says_so_and_sends_what_is_intact(stack, function, cloudwatch):
    page = [failed(), line("not_published", "t2", body="***", bodySha256="0")], None
    cloudwatch(lambda asked: denied() if asked.get("unmask") else page)
    assert stack.run("replay", exits=1).count("The AWS credentials lack logs:Unmask") == 1
    assert function.bodies == [VIDEO.encode()]


@pytest.mark.parametrize(("same_token", "limit"), [(True, 60), (False, 0.5)])
def test_of_a_log_that_cannot_be_read_to_its_end_what_was_read_is_offered(
    stack, function, cloudwatch, monkeypatch, same_token, limit
):
    monkeypatch.setattr("operate.aws.READING_SECONDS", limit)
    # CloudWatch returns the same token again, or more pages than can be read.
    logs = cloudwatch(lambda _: ([failed()], "a" if same_token else f"{time.time_ns()}"))
    printed = stack.run("replay", exits=1)
    assert len(logs.requests) == 6 or not same_token
    assert re.search(f"The log from {UTC} to {UTC} UTC was not read: there is too much of it, or CloudWatch", printed)
    assert "Not all published outcomes were read: if the list contains one, sending publishes it a second" in printed
    assert function.bodies == [VIDEO.encode()]
    for command in ["replay", "reconcile"]:
        stack.run(command, exits=1, DRY="1")


def test_a_log_that_cannot_be_read_is_reported(stack, cloudwatch):
    cloudwatch(lambda _: denied())
    printed = stack.run("replay", exits=1)
    assert "calling the FilterLogEvents operation: User: \\x1b[31moperator" in printed.splitlines()[-1]


@pytest.mark.parametrize("webhook_id", [None, "é", "a\nb"])
def test_a_webhook_id_that_is_no_valid_header_is_replaced(stack, function, webhook_id):
    stack.has_logged(failed(webhook_id=webhook_id))
    stack.run("replay")
    assert re.fullmatch(r"msg_\d+", function.requests[0].headers["X-Webhook-Id"])


@pytest.mark.parametrize(
    ("statuses", "sent", "published"),
    [
        *[([status] * 5, 1, 0) for status in [401, 403, 404]],
        *[([status] * 5, 3, 0) for status in [429, 500]],
        ([422, 302, 200, 422, 200], 5, 2),
        ([503, 503, 200, 503, 503], 5, 1),
    ],
)
def test_failures_with_a_common_cause_stop_the_replay(stack, function, statuses, sent, published):
    stack.has_logged(*[failed(f"t{number}") for number in range(5)])
    responses = iter(statuses)
    function.respond = lambda _: Response(PUBLISHED, next(responses))
    printed = stack.run("replay", exits=1)
    assert (len(function.requests), printed.count(" not published: ")) == (sent, sent - published)
    assert (f"Stopped: {5 - sent} more were not sent" in printed) == (sent < 5)
    assert printed.endswith(f"\nPublished {published} of 5.\n")


def test_control_characters_are_escaped(stack, function):
    stack.has_logged(line("not_an_outcome", "t\x1b[31m1\n", "\x07", body="{}", code="\x9b\n"))
    function.respond = lambda _: Response("\x1b[31m\n" + "x" * 20_000, 502)
    printed = stack.run("replay", exits=1)
    assert shown(printed)[1][:3] == [r"t\x1b[31m1\n", r"\x07", r"not_an_outcome (\x9b\n)"]
    assert r"not published: 502 \x1b[31m\nxxx" in printed
    assert len(printed) < 2_000


@pytest.mark.parametrize(("task_id", "status"), [(None, "succeed"), ("t1", None)])
@pytest.mark.parametrize(("name", "ids", "published"), [("body", "012", "2"), ("noBody", "101", "1")])
def test_outcomes_without_a_task_id_or_status_are_distinguished_by_their_bodies_or_ids(
    stack, task_id, status, name, ids, published
):
    tries = zip("aba", ids, strict=True)
    stack.has_logged(*[line("not_an_outcome", task_id, status, f"msg_{id}", **{name: text}) for text, id in tries])
    assert [row[3] for row in shown(stack.run("replay", DRY="1"))[1:]] == ["2", "1"]
    stack.has_logged(line("published", "t1", "succeed", f"msg_{published}"))
    assert [row[3] for row in shown(stack.run("replay", DRY="1"))[1:]] == ["1"]
