"""`make reconcile`, with a double of Pollo's API."""

import json
import time

import pytest
from werkzeug import Response

from tests.operate.conftest import API_KEY, KEY, OTHER_KEY, is_signed, line
from tests.operate.test_replay import ago, tasks

SUCCEEDED = {"id": "g1", "status": "succeed", "url": "https://a/1.mp4", "mediaType": "video", "failMsg": None}
FAILED = {"id": "g2", "status": "failed", "failMsg": "no such image ü"}
RUNNING = {"id": "g3", "status": "processing"}
UNKNOWN = Response('{"code":"NOT_FOUND","message":"no such task"}', 404)


def answer(task, *generations):
    return {"taskId": task, "credit": 1.25, "generations": generations}


class Pollo:
    """Pollo's API. `v1` and `legacy` are the responses by task: JSON, or a whole response."""

    def __init__(self, double):
        self.v1, self.legacy = {}, {}
        self.double = double("/api", self.respond)

    def respond(self, request):
        assert request.headers["x-api-key"] == API_KEY
        assert request.headers["User-Agent"].startswith("pollo-webhook")
        base, task = request.path.removeprefix("/api").removesuffix("/status").rsplit("/", 1)
        response = {"/v1/generation": self.v1, "/generation": self.legacy}[base].get(task, UNKNOWN)
        return response if isinstance(response, Response) else Response(json.dumps(response))

    @property
    def asked(self):
        return [request.path.removeprefix("/api") for request in self.double.requests]


@pytest.fixture
def pollo(double, stack):
    pollo = Pollo(double)
    stack.environment["POLLO_API_URL"] = f"{pollo.double.url}/"
    return pollo


def reconcile(stack, *task_ids, **environment):
    """Reconciles these tasks, or without any the tasks of the log."""
    settings = {"TASKS": "-", "stdin": "\n".join(task_ids)} if task_ids else {}
    return stack.run("reconcile", **{"YES": "1", **settings, **environment})


def test_an_outcome_that_never_arrived_is_sent_as_what_pollo_says(stack, function, pollo):
    pollo.v1["t1"] = answer("t1", SUCCEEDED, FAILED)
    status, printed = reconcile(stack, "t1", WEBHOOK_SECRET=f"{KEY} {OTHER_KEY}")
    assert "\nt1    succeed  not in the log  0      -    -                -\n" in printed
    assert "\nt1  succeed  published, message id 5b9f6a2e-0001\nPublished 1 of 1.\n" in printed
    assert (status, pollo.asked) == (0, ["/v1/generation/t1/status"])
    [request] = function.requests
    assert list(json.loads(function.bodies[0]).items()) == [
        ("taskId", "t1"),
        ("status", "succeed"),
        ("generations", [SUCCEEDED, FAILED]),
    ]
    assert is_signed(request)
    assert abs(int(request.headers["X-Webhook-Timestamp"]) - time.time()) < 60
    assert request.headers["X-Webhook-Id"] == "reconciled-t1"


def test_dry_needs_no_key_of_the_function_and_sends_nothing(stack, function, pollo):
    pollo.v1["t1"] = answer("t1", SUCCEEDED)
    status, printed = reconcile(stack, "t1", DRY="1", WEBHOOK_SECRET=None)
    assert (status, "t1    succeed" in printed, function.requests) == (0, True, [])


def test_tasks_are_read_from_a_file_once_each_and_published_ones_are_not_asked_for(stack, function, pollo, tmp_path):
    stack.has_logged(line("published", "t2"), ago=13 * 86_400)
    pollo.v1 |= {task: answer(task, SUCCEEDED) for task in ["t1", "t2", "動 画?1", "smoke-1"]}
    (tmp_path / "tasks").write_text("\ufefft1\n\n  t1\t\r\nt2\nsmoke-1\n動 画?1")
    assert "2 of 4 tasks were published, or are smoke tests." in reconcile(stack, TASKS=f"{tmp_path}/tasks")[1]
    assert pollo.asked == ["/v1/generation/t1/status", "/v1/generation/動 画?1/status"]
    assert [json.loads(body)["taskId"] for body in function.bodies] == ["t1", "動 画?1"]
    assert function.requests[1].headers["X-Webhook-Id"] == "reconciled-%E5%8B%95%20%E7%94%BB%3F1"


def test_without_tasks_it_asks_for_what_the_log_shows_without_a_body(stack, function, pollo):
    pollo.v1 |= {task: answer(task, FAILED) for task in ["t1", "t2", "t3", "t4", "t5"]}
    stack.has_logged(
        line("not_published", "t1", "failed", bodyBytes=40_000),
        line("not_published", "t2", body="{}"),
        line("not_published", "t3", body="**", bodySha256="0"),
        line("not_published", "t4", bodyBytes=40_000, webhookTimestamp=ago(400_000)),
        line("too_large", "t5", bodyBytes=40_000),
        line("not_an_outcome", None, None, bodyBytes=40_000),
        line("published", "t5", "succeed"),
    )
    status, printed = reconcile(stack)
    assert tasks(printed) == ["t1", "t3"]
    assert [request.headers["X-Webhook-Id"] for request in function.requests] == ["reconciled-t1", "reconciled-t3"]
    assert (status, printed.splitlines()[-1]) == (0, "Published 2 of 2.")


def test_a_second_run_sends_nothing(stack, function, pollo):
    pollo.v1["t1"] = answer("t1", SUCCEEDED)
    stack.has_logged(line("not_published", bodyBytes=40_000))
    assert reconcile(stack)[0] == 0
    stack.has_logged(line("published", webhook_id="reconciled-t1"), ago=1)
    for task_ids in [[], ["t1"]]:
        status, printed = reconcile(stack, *task_ids)
        assert "Nothing to send" in printed
        assert (status, len(function.requests), len(pollo.asked)) == (0, 1, 1)
    assert reconcile(stack, "t1", AGAIN="1")[0] == 0
    assert len(function.requests) == 2


@pytest.mark.parametrize(
    ("generations", "status"),
    [
        ([FAILED, FAILED], "failed"),
        ([FAILED, SUCCEEDED], "succeed"),
        ([SUCCEEDED, RUNNING], None),
        ([FAILED, {"status": "waiting"}], None),
    ],
)
def test_a_task_has_ended_with_its_last_generation_and_failed_if_all_have(stack, function, pollo, generations, status):
    pollo.v1["t1"] = answer("t1", *generations)
    ended, printed = reconcile(stack, "t1")
    assert [json.loads(body)["status"] for body in function.bodies] == ([status] if status else [])
    assert ("\nt1  still running\n" in printed) == (status is None)
    assert ended == 0


@pytest.mark.parametrize(
    "legacy",
    [
        {"code": "SUCCESS", "message": "success", "data": answer("t1", SUCCEEDED)},
        {"taskId": "t1", "result": [{"status": "succeed", "videoUrl": "https://a/1.mp4"}]},
    ],
)
@pytest.mark.parametrize("v1", [UNKNOWN, Response("<html>", 404)])
def test_the_legacy_api_is_asked_if_version_1_does_not_know_the_task(stack, function, pollo, v1, legacy):
    pollo.v1["t1"], pollo.legacy["t1"] = v1, legacy
    assert reconcile(stack, "t1")[0] == 0
    assert json.loads(function.bodies[0])["generations"][0]["url"] == "https://a/1.mp4"
    assert pollo.asked == ["/v1/generation/t1/status", "/generation/t1/status"]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (UNKNOWN, "404, Pollo does not know the task"),
        (Response("<!DOCTYPE html>\x1b[31m Just a moment...", 403), "403, and not a response of Pollo's API"),
        (Response("", 302, headers={"Location": "/api/v1/generation/t2/status"}), "302, and not a response"),
        (Response('{"message":"try later"}', 500), "500, a response that this command does not understand"),
        ({"taskId": "t1", "result": []}, "200, a response that this command does not understand"),
        (answer("t2", SUCCEEDED), "200, a response that this command does not understand"),
        (answer("t1", {"status": "cancelled"}), "200, a response that this command does not understand"),
        ({"taskId": "t1", "generations": {"status": "succeed"}}, "200, a response that this command does not"),
        (Response(json.dumps(answer("t1", {**SUCCEEDED, "text": "x" * 5_000_000}))), "200, and not a response"),
    ],
)
def test_a_task_that_pollo_does_not_name_is_told_and_the_others_are_sent(stack, function, pollo, response, reason):
    pollo.v1 |= {"t1": response, "t2": answer("t2", SUCCEEDED)}
    status, printed = reconcile(stack, "t1", "t2")
    assert f"\nt1  unknown: {reason}" in printed
    assert printed.splitlines()[-1] == "Published 1 of 1."
    assert (status, len(function.requests)) == (1, 1)


def test_an_api_that_cannot_be_reached_is_told(stack):
    printed = reconcile(stack, "t1", POLLO_API_URL="http://127.0.0.1:1")[1]
    assert "t1  unknown: http://127.0.0.1:1/v1/generation/t1/status cannot be reached: " in printed


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_api_key_is_told_once(stack, function, pollo, status):
    pollo.v1["t1"] = Response('{"code":"UNAUTHORIZED"}', status)
    ended, printed = reconcile(stack, "t1", "t2", "t3")
    assert f"t1  unknown: {status}, Pollo's API rejects POLLO_API_KEY: stopped\n" in printed
    assert (ended, len(pollo.asked), function.requests) == (1, 1, [])


@pytest.mark.parametrize(("retry_after", "waited"), [("7", 7), ("100000", 60), ("9" * 5000, 5), (None, 5)])
def test_it_waits_for_pollos_limit_of_requests(stack, function, pollo, monkeypatch, retry_after, waited):
    waits = []
    monkeypatch.setattr("operate.reconcile.time.sleep", waits.append)
    limited = [Response("<html>", 429, headers={"Retry-After": retry_after} if retry_after else {}), UNKNOWN]
    pollo.double.respond = lambda request: limited.pop(0) if limited else pollo.respond(request)
    pollo.legacy["t1"] = answer("t1", SUCCEEDED)
    status, printed = reconcile(stack, "t1")
    assert f"Pollo's limit of requests is reached: waiting for {waited} seconds" in printed
    assert (status, waits, len(function.requests)) == (0, [waited], 1)
    pollo.double.respond = lambda _: Response("", 429)
    status, printed = reconcile(stack, "t1", "t2")
    assert "t1  unknown: 429, Pollo's limit of requests is still reached: stopped\n" in printed
    assert (status, len(waits)) == (1, 5)
