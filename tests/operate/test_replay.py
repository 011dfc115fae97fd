"""`make replay`, with a log as the function writes it."""

import hashlib
import json
import re
import subprocess
import time
from datetime import UTC, datetime

import pytest
from werkzeug import Response

from operate import aws
from operate.log import PATTERN, unpublished
from tests.operate.conftest import KEY, OTHER_KEY, PUBLISHED, is_signed, line, verifies

VIDEO = '{"taskId":"t1","status":"succeed",\r\n "generations":[{"url":"https:\\/\\/a/ü"}], "n":1.50}\n'
UTC_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
REPLAYED = ["not_published", "timestamp_outside_tolerance", "timestamp_unreadable", "not_an_outcome", "too_large"]
OTHERS = ["signature_mismatch", "header_missing", "header_unreadable", "method_not_allowed", "not_configured", "panic"]


def shown(printed):
    """The rows of the table in `printed`, each as a list of cells without the times."""
    rows = [row for row in printed.splitlines() if re.search(f"{UTC_TIME}  {UTC_TIME}|LAST TRY", row)]
    return [re.split(" {2,}", re.sub(f" *{UTC_TIME}  {UTC_TIME}", "", row)) for row in rows]


def tasks(printed):
    return [row[0] for row in shown(printed)[1:]]


def with_digest(result, body, **fields):
    return line(result, body=body, bodySha256=hashlib.sha256(body.encode()).hexdigest(), **fields)


def ago(seconds):
    return str(int(time.time() - seconds))


def test_an_unpublished_outcome_is_sent_unchanged_with_a_new_signature(stack, function):
    logged = with_digest("not_published", VIDEO, webhook_id="msg_2abc", code="InternalError")
    stack.has_logged(*[logged] * 11)
    status, printed = stack.run("replay", YES="1")
    assert shown(printed)[1:] == [["t1", "succeed", "not_published (InternalError)", "11", "-"]]
    assert "\nt1  succeed  published, message id 5b9f6a2e-0001\n" in printed
    assert (status, printed.splitlines()[-1]) == (0, "Published 1 of 1.")
    [request] = function.requests
    assert function.bodies == [VIDEO.encode()]
    assert request.headers["X-Webhook-Id"] == "msg_2abc"
    assert abs(int(request.headers["X-Webhook-Timestamp"]) - time.time()) < 60
    assert is_signed(request)
    assert request.headers["Content-Type"] == "application/octet-stream"


def test_only_unpublished_outcomes_are_replayed_and_the_oldest_first(stack, function):
    stack.has_logged(
        line("not_published", "t1", body="1"),
        *[line(result, f"t-{result}", body=f"{number}") for number, result in enumerate(REPLAYED)],
        *[line(result, f"t-{result}", body="other") for result in OTHERS],
        "START RequestId: 8f0f2f86-6c1f-4b8e-9d3f-4b3f2c1d0e9a Version: $LATEST",
        '{"result":"not_published","taskId":"cut off in the mid',
        '["not_published"]',
        line("not_an_outcome", None, None, "msg_4", bodyBase64="/w=="),
        line("not_published", "smoke-1", body="6"),
        line("published", "t1"),
    )
    status, printed = stack.run("replay", YES="1")
    assert shown(printed) == [
        ["TASK", "STATUS", "REASON", "TRIES", "AGE", "FIRST TRY (UTC)", "LAST TRY (UTC)"],
        *[[f"t-{result}", "succeed", result, "1", "-"] for result in REPLAYED],
        ["webhook msg_4", "-", "not_an_outcome", "1", "-"],
    ]
    assert function.bodies == [b"0", b"1", b"2", b"3", b"4", b"\xff"]
    assert (status, printed.splitlines()[-1]) == (0, "Published 6 of 6.")


def test_cloudwatch_selects_exactly_these_results():
    assert re.findall(r'\$\.result = "(\w+)"', PATTERN) == ["published", *REPLAYED]
    # The limit of CloudWatch.
    assert len(PATTERN) <= 1024


def test_dry_sends_nothing_and_needs_no_key(stack, function):
    stack.has_logged(line("not_published", body=VIDEO))
    status, printed = stack.run("replay", DRY="1", WEBHOOK_SECRET=None)
    assert (status, tasks(printed), function.requests) == (0, ["t1"], [])


def test_the_table_shows_the_age_and_the_first_and_last_try_in_utc(stack):
    stack.has_logged(line("not_published", body=VIDEO, webhookTimestamp=ago(7210)), ago=7200)
    stack.has_logged(line("not_published", body=VIDEO, webhookTimestamp=ago(3610)), ago=3600)
    process = stack.process("replay", DRY="1", TZ="Asia/Tokyo")
    ran = subprocess.run(**process, capture_output=True, timeout=60, check=True)
    [tries] = re.findall(f" 2 +60m +({UTC_TIME})  ({UTC_TIME})", ran.stdout)
    for text, seconds in zip(tries, [7200, 3600], strict=True):
        assert text in [time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - seconds - n)) for n in range(60)]


def test_an_outcome_that_any_try_published_is_not_listed(stack, function):
    failed = [line("not_published", body=VIDEO), line("not_published", status="failed", body=VIDEO)]
    late = line("timestamp_outside_tolerance", body=VIDEO)
    stack.has_logged(*failed, line("published", webhook_id="msg_2"), line("published", status="failed"), late)
    status, printed = stack.run("replay")
    assert "Nothing to replay" in printed
    assert (status, function.requests) == (0, [])


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [("30m", None, 0), ("2h", None, 1), (None, None, 1), (None, "30m", 1), (None, "2h", 0)],
)
def test_since_and_until_limit_what_is_listed(stack, since, until, found):
    stack.has_logged(line("not_published", body=VIDEO), ago=3600)
    assert len(tasks(stack.run("replay", DRY="1", SINCE=since, UNTIL=until)[1])) == found


def test_since_and_until_can_be_dates(stack):
    stack.has_logged(line("not_published", body=VIDEO), ago=3600)
    [hour, half] = [datetime.fromtimestamp(time.time() - seconds, UTC) for seconds in [3660, 3500]]
    settings = {"SINCE": hour.isoformat(), "UNTIL": half.strftime("%Y-%m-%d %H:%M:%S")}
    assert tasks(stack.run("replay", DRY="1", **settings)[1]) == ["t1"]
    assert tasks(stack.run("replay", DRY="1", SINCE=half.strftime("%Y-%m-%dT%H:%M:%SZ"))[1]) == []


@pytest.mark.parametrize(("days", "found"), [(13, []), (15, ["t1"])])
def test_what_was_published_in_the_last_14_days_is_not_sent_again(stack, days, found):
    stack.has_logged(line("published"), ago=days * 86_400)
    stack.has_logged(line("not_published", body=VIDEO), ago=600)
    assert tasks(stack.run("replay", DRY="1", SINCE="30m")[1]) == found


def test_what_was_published_after_until_is_not_sent_again(stack):
    stack.has_logged(line("not_published", body=VIDEO), ago=3600)
    stack.has_logged(line("published"), ago=60)
    assert tasks(stack.run("replay", DRY="1", UNTIL="30m")[1]) == []


@pytest.mark.parametrize("timestamp", [ago(80 * 3600), ago(80 * 3600) + "000", "2026-01-01T00:00:00Z"])
def test_a_webhook_that_was_signed_before_since_is_listed_but_not_sent(stack, function, timestamp):
    old = with_digest("timestamp_outside_tolerance", VIDEO, webhookTimestamp=timestamp)
    stack.has_logged(old, with_digest("not_published", "{}", task_id="t2", webhookTimestamp=ago(120)))
    status, printed = stack.run("replay", YES="1")
    assert sorted(tasks(printed)) == ["t1", "t2"]
    assert "Not sent: t1: signed before SINCE. Somebody may have sent a captured webhook again" in printed
    assert re.search(r"t1 .*  (80h|\d{4}h)  ", printed)
    assert (function.bodies, status) == ([b"{}"], 0)
    assert stack.run("replay", YES="1", SINCE="9999d")[1].endswith("Published 2 of 2.\n")


def test_a_retry_with_a_new_signature_counts_from_the_new_one(stack, function):
    stack.has_logged(*[with_digest("not_published", VIDEO, webhookTimestamp=ago(age)) for age in [400_000, 90]])
    assert (stack.run("replay", YES="1")[0], len(function.requests)) == (0, 1)


@pytest.mark.parametrize(
    "logged",
    [
        line("not_published", body=VIDEO.replace("https", "*****"), bodySha256=hashlib.sha256(b"other").hexdigest()),
        line("not_published", body="{}", bodySha256=""),
        # A line of version 0.2.
        line("not_published", body=VIDEO.replace("https", "*****")),
    ],
)
def test_a_body_that_is_not_what_pollo_signed_is_never_sent(stack, function, logged):
    stack.has_logged(logged)
    status, printed = stack.run("replay", YES="1")
    assert "Not sent: t1: the body in the log is not what Pollo signed" in printed
    assert (status, printed.splitlines()[-1], function.requests) == (1, "Published 0 of 1.", [])
    stack.has_logged(with_digest("not_published", VIDEO))
    assert (stack.run("replay", YES="1")[0], function.bodies) == (0, [VIDEO.encode()])


def test_an_outcome_that_is_too_large_for_the_log_is_left_to_reconcile(stack, function):
    stack.has_logged(line("too_large", bodyBytes=300_000), with_digest("not_published", VIDEO, task_id="t2"))
    status, printed = stack.run("replay", YES="1")
    assert tasks(printed) == ["t1", "t2"]
    assert "Not sent: t1: the log has no body, because it keeps none over 30,000 bytes: run make reconcile." in printed
    assert (len(function.requests), status, printed.splitlines()[-1]) == (1, 1, "Published 1 of 2.")


def cloudwatch(pages, needs_unmask=False):
    """Responds to FilterLogEvents with `pages`: pairs of lines and the next token, by token."""

    def respond(request):
        asked = json.loads(request.get_data())
        if needs_unmask and asked.get("unmask"):
            return Response('{"__type":"AccessDeniedException","message":"User: operator may not logs:Unmask"}', 400)
        lines, token = pages[asked.get("nextToken")]
        events = [{"timestamp": int(time.time() * 1000) - 60_000, "message": line} for line in lines]
        return Response(json.dumps({"events": events, **({"nextToken": token} if token else {})}))

    return respond


def test_masked_text_is_read_unmasked(stack, double):
    logs = double("/logs", cloudwatch({None: ([with_digest("not_published", VIDEO)], None)}))
    status, printed = stack.run("replay", YES="1", AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=logs.url)
    assert [json.loads(body)["unmask"] for body in logs.bodies] == [True, True]
    assert (status, "logs:Unmask" in printed) == (0, False)


def test_without_the_permission_to_unmask_it_says_so_and_sends_what_is_intact(stack, function, double):
    lines = [with_digest("not_published", VIDEO), line("not_published", "t2", body="***", bodySha256="0")]
    logs = double("/logs", cloudwatch({None: (lines, None)}, needs_unmask=True))
    status, printed = stack.run("replay", YES="1", AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=logs.url)
    assert printed.count("The AWS credentials lack logs:Unmask") == 1
    assert (function.bodies, status) == ([VIDEO.encode()], 1)


def test_a_page_that_cloudwatch_returns_twice_ends_the_reading(stack, function, double):
    pages = {None: ([with_digest("not_published", VIDEO)], "a"), "a": ([], "a")}
    logs = double("/logs", cloudwatch(pages))
    status, printed = stack.run("replay", YES="1", AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=logs.url)
    assert re.search(f"The log from {UTC_TIME} to {UTC_TIME} UTC was not read", printed)
    assert "Not all published outcomes were read" in printed
    assert (function.bodies, status) == ([VIDEO.encode()], 1)


def test_of_a_log_that_is_too_long_what_was_read_is_offered(stack, function, double, monkeypatch):
    monkeypatch.setattr(aws, "READING_SECONDS", 1)

    def endless(request):
        time.sleep(0.2)
        page = [with_digest("not_published", VIDEO)] if b"nextToken" not in request.get_data() else []
        return cloudwatch({json.loads(request.get_data()).get("nextToken"): (page, f"{time.time_ns()}")})(request)

    logs = double("/logs", endless)
    status, printed = stack.run("replay", YES="1", AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=logs.url)
    assert "UTC was not read: there is too much of it" in printed
    assert (function.bodies, status) == ([VIDEO.encode()], 1)


def test_every_page_of_the_log_is_read(stack):
    others = [line("published", f"other-{number}") for number in range(10_000)]
    stack.has_logged(line("not_published", "t1"), *others, line("published", "t1"), line("not_published", "t2"))
    assert tasks(stack.run("replay", DRY="1")[1]) == ["t2"]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("AccessDeniedException", "The AWS credentials lack a permission for FilterLogEvents: User: \\x1b[31moperator"),
        ("ResourceNotFoundException", "There is no log group /aws/lambda/"),
    ],
)
def test_a_log_that_cannot_be_read_is_reported(stack, function, double, code, sentence):
    logs = double("/logs", lambda _: Response(f'{{"__type":"{code}","message":"User: \\u001b[31moperator"}}', 400))
    status, printed = stack.run("replay", YES="1", AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=logs.url)
    assert printed.splitlines()[-1].startswith(sentence)
    assert (status, function.requests) == (1, [])


def test_replay_signs_with_the_first_key(stack):
    stack.has_logged(line("not_published", body=VIDEO))
    assert stack.run("replay", YES="1", WEBHOOK_SECRET=f"{KEY}\n{OTHER_KEY}")[0] == 0
    status, printed = stack.run("replay", YES="1", WEBHOOK_SECRET=f"{OTHER_KEY},{KEY}")
    assert "401" in printed
    assert status == 1


def test_url_replaces_the_url_of_the_stack(stack, function, double):
    stack.has_logged(line("not_published", body=VIDEO))
    other = double("/other", verifies)
    assert stack.run("replay", YES="1", URL=f"{other.url}?a=b")[0] == 0
    assert (len(other.requests), function.requests) == (1, [])


@pytest.mark.parametrize("webhook_id", [None, "é", "a\nb"])
def test_a_webhook_id_that_is_no_valid_header_is_replaced(stack, function, webhook_id):
    stack.has_logged(line("not_published", body=VIDEO, webhook_id=webhook_id))
    assert stack.run("replay", YES="1")[0] == 0
    assert re.fullmatch(r"msg_\d+", function.requests[0].headers["X-Webhook-Id"])


@pytest.mark.parametrize(
    ("statuses", "sent", "published"),
    [
        *[([status] * 5, 1, 0) for status in [401, 403, 404]],
        *[([status] * 5, 3, 0) for status in [429, 500, 502, 503]],
        *[([status] * 5, 5, 0) for status in [422, 302]],
        ([422, 200, 422, 200, 200], 5, 3),
        ([503, 503, 200, 503, 503], 5, 1),
    ],
)
def test_failures_with_a_common_cause_stop_the_replay(stack, function, statuses, sent, published):
    stack.has_logged(*[line("not_published", f"t{number}", body=VIDEO) for number in range(5)])
    responses = iter(statuses)
    function.respond = lambda _: Response(PUBLISHED, next(responses))
    ended, printed = stack.run("replay", YES="1")
    assert (len(function.requests), printed.count(" not published: ")) == (sent, sent - published)
    assert (f"Stopped: {5 - sent} more were not sent" in printed) == (sent < 5)
    assert (ended, printed.splitlines()[-1]) == (1, f"Published {published} of 5.")


def test_control_characters_are_escaped(stack, function):
    stack.has_logged(line("not_an_outcome", "t\x1b[31m1\n", "\x07", body="{}", code="\x9b"))
    function.respond = lambda _: Response("\x1b[31m\n" + "x" * 20_000, 502)
    printed = stack.run("replay", YES="1")[1]
    assert shown(printed)[1][:3] == [r"t\x1b[31m1\n", r"\x07", r"not_an_outcome (\x9b)"]
    assert r"not published: 502 \x1b[31m\nxxx" in printed
    assert len(printed) < 2_000


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://127.0.0.1:99999/", "http://[::1/", "http://a..b/"])
def test_an_unreachable_url_is_reported(stack, url):
    stack.has_logged(line("not_published", body=VIDEO))
    status, printed = stack.run("replay", YES="1", URL=url)
    assert f"t1  succeed  {url} cannot be reached: " in printed
    assert (status, printed.splitlines()[-1]) == (1, "Published 0 of 1.")


def listed(*lines):
    return unpublished(enumerate(lines), 0, 1)[0]


@pytest.mark.parametrize("body", ["", "[]", "\ufeff{}", ' {"taskId": "é \\u00e9 \\\\ \\" 😀 \u2028", "n": 1.50e+1 }\n'])
def test_a_text_body_is_kept_byte_for_byte(body):
    [outcome] = listed(with_digest("not_an_outcome", body))
    assert outcome.body == body.encode()


@pytest.mark.parametrize("fields", [{"bodyBase64": "bm90%IHRoZQ=="}, {"body": "\ud800"}, {"body": 2}, {}])
def test_an_outcome_without_a_readable_body_has_no_body(fields):
    [outcome] = listed(line("not_published", **fields))
    assert outcome.body is None


def test_the_last_body_and_its_webhook_id_are_used():
    tries = [line("not_published", webhook_id=f"msg_{body}", body=body) for body in "12"]
    [outcome] = listed(*tries, line("not_published", webhook_id="msg_3", bodyBytes=300_000))
    assert (outcome.body, outcome.webhook_id) == (b"2", "msg_2")


@pytest.mark.parametrize(("task_id", "status"), [(None, None), ("t1", None), (None, "succeed"), ("", "succeed")])
def test_outcomes_without_a_task_id_or_status_are_distinguished_by_their_bodies(task_id, status):
    tries = [line("not_an_outcome", task_id, status, f"msg_{body}", body=body) for body in ["[1]", "[2]", "[1]"]]
    assert [(outcome.body, outcome.tries) for outcome in listed(*tries)] == [(b"[1]", 2), (b"[2]", 1)]
    assert len(listed(*tries, line("published", "t1", "succeed", "msg_[1]"))) == 1


def test_outcomes_without_a_body_are_distinguished_by_their_webhook_ids():
    tries = [line("not_an_outcome", None, None, id, bodyBytes=300_000) for id in ["msg_1", "msg_2", "msg_1"]]
    assert [(outcome.webhook_id, outcome.tries) for outcome in listed(*tries)] == [("msg_1", 2), ("msg_2", 1)]
