"""What the function stores, retries and logs."""

import gzip
import json
import re
import subprocess
import sys
import threading
import time

import pytest
from moto.s3.models import S3Backend
from moto.sqs.models import SQSBackend

from local.emulators import CHECKOUT
from tests.videos.conftest import SIGNED, VIDEO
from tests.videos.internet import listener
from tests.videos.pollo import Repeats, chunked, reports, sends

API, LEGACY = [f"/api/platform{version}/generation/t1/status" for version in ["/v1", ""]]
PART = 8 * 1024 * 1024


@pytest.fixture
def video(pollo):
    """The URL of a video that can be downloaded."""
    return pollo.responds("/a/b.MP4" + SIGNED, sends(200, VIDEO))


def test_each_file_is_stored_once_byte_for_byte(subscriber, pollo, receives, video):
    types = {"image": "image/png", "sound": "audio/mpeg", "v1.download": "binary/octet-stream", "none": None}
    urls = {path: pollo.responds(f"/{path}", sends(200, path.encode(), Content_Type=types[path])) for path in types}
    pollo.responds("/%C3%A9%20b%09", sends(200, b"2"))
    generations = [{"id": "g1", "url": video}, *[{"id": path, "videoUrl": url} for path, url in urls.items()]]
    generations += [{"url": "https://cdn.example/é b\t" + SIGNED}, {"id": "g4", "status": "failed"}]
    generations += [{"id": "g5", "status": "succeed", "mediaType": "text", "url": None}]
    line = receives(*generations)
    stored = {"t1/g1.mp4": VIDEO, "t1/image.png": b"image", "t1/sound.mp3": b"sound", "t1/v1%2Edownload.bin": b"v1.download"}
    stored |= {"t1/none.bin": b"none", "t1/5.bin": b"2"}
    told = {"taskId": "t1", "failed": ["t1/g4"], "skipped": ["t1/g5"]}
    assert line == {"result": "stored", "objects": list(stored), "present": [], **told}
    assert subscriber.objects() == stored
    assert subscriber.s3.head_object(Bucket=subscriber.bucket, Key="t1/image.png")["ContentType"] == "image/png"
    assert receives(*generations) == {"result": "stored", "objects": [], "present": list(stored), **told}
    assert len(pollo.requests) == 6


@pytest.mark.parametrize("generation", [{"status": "failed"}, {"mediaType": "text"}], ids=["failed", "text"])
def test_an_outcome_without_media_is_done(receives, generation):
    assert receives({"id": "g1", **generation})["result"] == "nothing_to_store"


@pytest.mark.parametrize("form", ["bare", "envelope", "result"])
@pytest.mark.parametrize("path", [API, LEGACY], ids=["v1", "legacy"])
def test_missing_urls_are_requested_from_the_api(subscriber, pollo, receives, video, path, form):
    generation = {"id": "g1", "status": "succeed", "videoUrl" if form == "result" else "url": video}
    found = reports(generation, wrapped=form == "envelope")
    pollo.responds(path, sends(200, json.dumps({"result": [generation]}).encode()) if form == "result" else found)
    assert receives()["objects"] == ["t1/g1.mp4"]
    asked = [API] if path == API else [API, LEGACY]
    assert pollo.requests == [*["pollo.ai" + path for path in asked], "cdn.example/a/b.MP4" + SIGNED]
    assert [headers["x-api-key"] for headers in pollo.headers] == [*["key-1" for _ in asked], None]
    assert {headers["User-Agent"] for headers in pollo.headers} == {"pollo-webhook"}
    assert receives({"id": "g1", "status": "processing"})["present"] == ["t1/g1.mp4"]


PAGE = b"<html>" * 100_000
EXPIRED = {
    **{str(status): sends(status) for status in [403, 404, 410]},
    **{
        kind: sends(200, PAGE, Content_Type=kind)
        for kind in ["text/html", "Text/HTML; charset=utf-8", "application/json", "application/problem+json", "application/xml"]
    },
    "a redirect to a page": sends(302, Location="/page"),
}


@pytest.mark.parametrize("expired", EXPIRED.values(), ids=EXPIRED)
def test_an_expired_url_is_replaced_by_one_from_the_api(subscriber, pollo, receives, video, expired):
    pollo.responds("/page", sends(200, PAGE, Content_Type="text/html"))
    image, link = pollo.responds("/1.png", sends(200, b"1")), pollo.responds("/g2.mp4" + SIGNED, expired)
    generations = [{"id": "g1", "url": image}, {"id": "g2", "url": link}]
    subscriber.configure(API_KEY_SECRET_ARN="")
    assert re.fullmatch("t1/g2: the host .*; there is no key of Pollo's API", receives(*generations)["reason"])
    subscriber.configure(API_KEY_SECRET_ARN=subscriber.secret)
    pollo.responds(API, reports({"id": "g1", "url": image}, {"id": "g2", "url": video}))
    line = receives(*generations)
    assert (line["objects"], line["present"]) == (["t1/g2.mp4"], ["t1/g1.png"])
    assert subscriber.objects() == {"t1/g1.png": b"1", "t1/g2.mp4": VIDEO}


REFUSED = {
    "no such task": ([sends(404, b"{}"), sends(404, b"{}")], "responds 404"),
    "no such page": ([sends(404, b"{}"), sends(404, PAGE)], "a response 404 is not from Pollo's API, but from a server in front of it"),
    "rejected key": ([sends(401, b'{"code":"UNAUTHORIZED"}')], "Pollo's API responds 401"),
    "Cloudflare": ([sends(403, PAGE, Content_Type="text/html")], "a response 403 is not from Pollo's API"),
    "busy": ([sends(429, b"{}")], "responds 429"),
    "redirect": ([sends(302, b"{}", Location="https://cdn.example/a/b.MP4")], "responds 302"),
    "page": ([sends(200, PAGE)], "a response 200 is not from Pollo's API"),
    "half": ([sends(200, b'{"generations":[]}', Content_Length=100)], "IncompleteRead"),
    "endless": ([Repeats(b"HTTP/1.1 200 OK\r\n\r\n{", b" " * 65536)], "too many bytes"),
    "none": ([reports()], "there are no generations"),
    "code": ([sends(200, b'{"code":"NOT_FOUND","message":"no such task"}')], "there are no generations"),
    "waiting": ([reports({"id": "g1", "status": "processing", "url": "https://cdn.example/"})], "t1/g1: it has no URL yet"),
}


@pytest.mark.parametrize(("responses", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_failed_request_to_the_api_is_retried(subscriber, pollo, receives, video, responses, reason):
    for path, response in zip([API, LEGACY], responses):
        pollo.responds(path, response)
    assert reason in receives()["reason"]
    assert {headers["x-api-key"] for headers in pollo.headers} == {"key-1"}
    subscriber.secrets.put_secret_value(SecretId=subscriber.secret, SecretString="key-2")
    pollo.responds(API, reports({"id": "g1", "status": "succeed", "url": video}))
    assert receives(attempt=2)["objects"] == ["t1/g1.mp4"]
    assert pollo.headers[-2]["x-api-key"] == "key-2"


def test_a_key_that_is_no_header_is_not_logged(subscriber, receives):
    subscriber.secrets.put_secret_value(SecretId=subscriber.secret, SecretString="key-1\nkey-2")
    assert receives()["reason"] == "ValueError"


def chunks(size, body=VIDEO):
    return chunked(size + b"\r\n" + body)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN = {
    "500": sends(500),
    "429": sends(429),
    "206": sends(206, VIDEO),
    "longer than MAX_BYTES": sends(200, VIDEO, Content_Length=len(VIDEO) + 1),
    "shorter": sends(200, VIDEO[:-1], Content_Length=len(VIDEO)),
    "shorter by a part": sends(200, VIDEO[:PART], Content_Length=len(VIDEO)),
    "small and shorter": sends(200, b"x", Content_Length=2),
    "empty": sends(200),
    "without length": sends(200, VIDEO, Content_Length=None),
    "negative length": sends(200, VIDEO, Content_Length=-1),
    "two lengths": sends(200, VIDEO, Content_Length=f"{len(VIDEO)}, 1"),
    "gzip": sends(200, gzip.compress(b"1"), Content_Encoding="gzip"),
    "Brotli": sends(200, b"1", Content_Encoding="br"),
    "transfer gzip": sends(200, gzip.compress(b"1"), Transfer_Encoding="gzip, chunked"),
    "large chunks": chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(VIDEO) + 1, VIDEO + b"x")),
    "no last chunk": chunked(b"9c4000\r\n%b\r\n" % VIDEO),
    "chunk cut": chunks(b"9c4000", VIDEO[:-1]),
    "chunk longer than told": chunks(b"9c3fff", VIDEO + b"\r\n0\r\n\r\n"),
    "chunk shorter than told": chunks(b"9c4001", VIDEO + b"\r\n0\r\n\r\n"),
    "size no number": chunks(b"x"),
    "no chunk": chunked(b"0\r\n\r\n"),
    "negative chunk": Repeats(CHUNKED + b"-1\r\n", bytes(65536)),
    "short negative chunk": chunks(b"-1", b"x\r\n0\r\n\r\n"),
    "endless chunk": Repeats(CHUNKED + b"f" * 15 + b"\r\n", bytes(65536)),
    "endless size": Repeats(CHUNKED, b"1" * 65536),
    "endless headers": Repeats(b"HTTP/1.1 200 OK\r\nx: ", b"1" * 65536),
    "endless interim responses": Repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "no HTTP": lambda handler: handler.wfile.write(b"\0" * 100),
    "headers cut": lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-"),
    "header without a colon": lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nx\r\nContent-Length: 1\r\n\r\n1"),
    "http": sends(302, Location="http://cdn.example/a/b.MP4"),
    "private": sends(302, Location="https://10.0.0.1/"),
    "loop": sends(302, Location="/video"),
    "no URL": sends(302, Location="https://[/" + SIGNED),
    "dripping body": Repeats(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x", 0.05),
    "dripping chunk": Repeats(CHUNKED + b"ffff\r\n", b"x", 0.05),
    "dripping headers": Repeats(b"HTTP/1.1 200 OK\r\n", b"x: x\r\n", 0.05),
    "silence": lambda _: time.sleep(2),
}


@pytest.mark.parametrize("response", BROKEN.values(), ids=BROKEN)
def test_a_broken_download_stores_nothing_and_is_retried(subscriber, internet, pollo, receives, response):
    internet.servers["10.0.0.1"] = pollo.port
    url = pollo.responds("/video" + SIGNED, *[response] * 4)
    subscriber.seconds = 1
    line = receives({"id": "g1", "url": url})
    assert (line["result"], line["objects"], subscriber.objects()) == ("retry", [], {})
    if isinstance(response, Repeats):
        assert response.left.wait(5)
        assert response.sent < 8 * PART
    subscriber.seconds = 60
    pollo.responds("/video", chunked(b"9c4000\r\n%b\r\n0\r\n\r\n" % VIDEO))
    assert receives({"id": "g1", "url": url})["objects"] == ["t1/g1.bin"]
    assert subscriber.objects() == {"t1/g1.bin": VIDEO}


def test_a_host_that_drips_the_handshake_cannot_exceed_the_deadline(subscriber, internet, receives):
    left = threading.Event()

    def drips(connection):
        try:
            connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")
            while True:
                connection.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            left.set()

    subscriber.seconds = 1
    with listener(drips) as internet.servers["9.9.9.9"]:
        assert receives({"id": "g1", "url": "https://cdn.example/"})["result"] == "retry"
        assert left.wait(5)


@pytest.mark.parametrize("chunks", [False, True])
def test_a_download_that_the_deadline_ends_is_not_stored(subscriber, pollo, receives, chunks, monkeypatch):
    part = S3Backend.upload_part
    monkeypatch.setattr(S3Backend, "upload_part", lambda *a, **b: time.sleep(subscriber.seconds) or part(*a, **b))
    body = VIDEO[: PART + 60_000]
    url = pollo.responds("/video.mp4", chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)) if chunks else sends(200, body))
    subscriber.seconds = 1
    assert receives({"id": "g1", "url": url})["reason"].startswith("t1/g1: ")
    assert subscriber.objects() == {}
    monkeypatch.undo()


def test_nothing_is_requested_after_the_deadline(subscriber, pollo, receives, video):
    subscriber.seconds = 0
    for generations in [[], [{"id": "g1", "url": video}]]:
        assert receives(*generations)["result"] == "retry"
    assert pollo.requests == []


def test_a_silent_host_leaves_time_for_the_others(subscriber, pollo, receives, video, monkeypatch):
    monkeypatch.setattr(subscriber.module, "READ_SECONDS", 0.2)
    url = pollo.responds("/silent", lambda _: time.sleep(1))
    line = receives({"id": "g1", "url": url}, {"id": "g2", "url": video})
    assert (line["objects"], "Read timed out" in line["reason"]) == (["t1/g2.mp4"], True)


def test_whatever_can_be_stored_is_stored(subscriber, pollo, receives, video):
    large = pollo.responds("/large", sends(200, Content_Length=len(VIDEO) + 1))
    gone = pollo.responds("/gone", sends(404))
    line = receives({"id": "g1", "url": large}, {"id": "g2", "url": gone}, {"id": "g3", "url": 5}, {"id": "g4", "url": video})
    assert subscriber.objects() == {"t1/g4.mp4": VIDEO}
    assert line["reason"] == (
        "t1/g1: a file has more than 10240000 bytes; Pollo's API responds 404; t1/g2: the host responds 404 "
        "application/octet-stream; Pollo's API responds 404; t1/g3: AttributeError; Pollo's API responds 404"
    )


@pytest.mark.parametrize("ids", [["g", "g"], [1, "1"], [None, "0"]], ids=str)
def test_generations_with_one_name_are_not_stored_over_each_other(subscriber, pollo, receives, video, ids):
    line = receives(*[{"id": id, "url": video} for id in [*ids, "other"]])
    assert (line["result"], line["objects"]) == ("retry", ["t1/other.mp4"])
    assert "no id of its own" in line["reason"]


def test_up_to_three_redirects_are_followed(subscriber, pollo, receives, video):
    hops = [pollo.responds(f"/{n}", sends(302, Location=f"/{n + 1}")) for n in range(2)]
    pollo.responds("/2", sends(302, Location=video))
    assert receives({"id": "g1", "url": hops[0]})["objects"] == ["t1/g1.bin"]
    pollo.responds("/2", sends(302, Location="/0"))
    assert receives({"id": "g2", "url": hops[0]})["reason"].startswith("t1/g2: the host responds 302")
    del pollo.requests[8:]
    paths = ["/0", "/1", "/2", "/a/b.MP4" + SIGNED, "/0", "/1", "/2", "/0"]
    assert pollo.requests == ["cdn.example" + path for path in paths]


PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"]
PRIVATE += ["240.0.0.1", "::1", "::", "fe80::1%1", "fec0::1", "fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1", "::10.0.0.1"]
PRIVATE += ["64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::", "2001:db8::1", "2001::1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_receives_nothing(internet, receives, address):
    received = []
    internet.hosts["cdn.example"] = [address]
    with listener(lambda connection: received.append(connection.recv(1))) as internet.servers[address]:
        reason = receives({"url": "https://cdn.example/"})["reason"]
    assert re.match("t1/0: the host has the address .*, which is not public;", reason)
    assert received == [b""]


@pytest.mark.parametrize("address", ["9.9.9.9", "2606:4700::1111"])
def test_the_next_address_is_tried(subscriber, internet, pollo, receives, video, address):
    internet.servers = {"8.8.4.4": None, address: pollo.port}
    internet.hosts["cdn.example"] = ["8.8.4.4", address]
    assert receives({"id": "g1", "url": video})["objects"] == ["t1/g1.mp4"]


@pytest.mark.parametrize("host", ["other.example", "untrusted"])
def test_only_a_trusted_certificate_of_the_host_is_accepted(subscriber, internet, pollo, receives, host, monkeypatch):
    internet.hosts |= {"other.example": ["9.9.9.9"], "untrusted": ["9.9.9.9"]}
    assert "certificate verify failed" in receives({"url": f"https://{host}/" + SIGNED})["reason"]
    assert pollo.requests == []


def test_ids_are_escaped_in_object_keys_and_api_paths(subscriber, pollo, receives, video):
    pollo.responds("/api/platform/v1/generation/%2E%2E%2Fa%3F/status", reports({"id": "../b", "url": video}))
    assert receives(taskId="../a?")["objects"] == ["%2E%2E%2Fa%3F/%2E%2E%2Fb.mp4"]
    assert subscriber.objects() == {"%2E%2E%2Fa%3F/%2E%2E%2Fb.mp4": VIDEO}


def test_each_retry_waits_twice_as_long_up_to_an_hour(receives, monkeypatch):
    waits = []
    monkeypatch.setattr(SQSBackend, "change_message_visibility", lambda *call: waits.append(call[-1]))
    for attempt in [1, 2, 3, 8]:
        assert receives(body="[]", attempt=attempt)["reason"] == "TypeError"
    assert waits == [60, 120, 240, 3600]


@pytest.mark.parametrize(("kind", "failed", "stored"), [("", [1], ["t0", "t2"]), (".fifo", [1, 2], ["t0"])], ids=["standard", "fifo"])
def test_nothing_after_a_failure_in_a_fifo_queue_is_processed(subscriber, pollo, video, kind, failed, stored):
    lost = pollo.responds("/lost", sends(500))
    records = []
    for number, url in enumerate([video, lost, video]):
        generations = [{"id": "g", "url": url}]
        records.append(subscriber.record(json.dumps({"taskId": f"t{number}", "generations": generations})))
        records[-1]["eventSourceARN"] += kind
    response = subscriber.module.handler({"Records": records}, subscriber)
    assert response == {"batchItemFailures": [{"itemIdentifier": records[index]["messageId"]} for index in failed]}
    assert list(subscriber.objects()) == [f"{task}/g.mp4" for task in stored]


@pytest.mark.parametrize("size", [6, len(VIDEO)], ids=["one part", "two parts"])
def test_only_one_of_two_concurrent_deliveries_stores_a_file(subscriber, pollo, receives, size):
    def is_overtaken(handler):
        subscriber.s3.put_object(Bucket=subscriber.bucket, Key="t1/g1.bin", Body=b"first")
        sends(200, VIDEO[:size])(handler)

    url = pollo.responds("/video", is_overtaken)
    assert "(PreconditionFailed)" in receives({"id": "g1", "url": url})["reason"]
    assert receives({"id": "g1", "url": url})["present"] == ["t1/g1.bin"]
    assert subscriber.objects() == {"t1/g1.bin": b"first"}


def test_many_outcomes_with_all_faults_are_each_stored_once(subscriber, pollo, receives):
    faults = [*EXPIRED.values(), *[broken for broken in BROKEN.values() if not isinstance(broken, Repeats)]]
    expected = {}
    pollo.responds("/page", sends(200, PAGE, Content_Type="text/html"))
    for number, fault in enumerate(faults):
        body = VIDEO[: number * 300_000 + 1]
        url = pollo.responds(f"/{number}.mp4", fault, sends(200, body))
        pollo.responds(f"/api/platform/v1/generation/t{number}/status", sends(503), reports({"id": "g", "url": url}))
        expected[f"t{number}/g.mp4"] = body
    for attempt in [1, 2, 3]:
        for number in range(len(faults)):
            generations = [{"id": "g", "url": f"https://cdn.example/{number}.mp4" + SIGNED}]
            line = receives(*generations, taskId=f"t{number}", attempt=attempt)
            assert (line["result"] == "retry") == (attempt == 1), line
    assert subscriber.objects() == expected


def test_memory_does_not_grow_with_the_video(subscriber, pollo):
    urls = [pollo.responds(path, sends(200, bytes(size))) for path, size in [("/1", 1), ("/2", 100 * 1024 * 1024)]]
    # A process inherits ru_maxrss from its parent, so the test reads VmHWM.
    script = r"""if True:
        import pathlib, re, sys
        from tests.videos.internet import Internet
        sys.path.append("examples/subscribers/videos")
        import store_videos
        Internet(setattr, int(sys.argv[1]))
        for url in sys.argv[2:]:
            store_videos.Socket.deadline = 1e9
            store_videos.store(url, url[-1])
            print(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
    """
    subscriber.patch.setenv("MAX_BYTES", "1000000000")
    command = [sys.executable, "-c", script, str(pollo.port), *urls]
    ran = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, check=True)
    small, large = map(int, ran.stdout.split())
    assert (large - small) * 1024 <= 2 * PART
    assert len(subscriber.objects()["2.bin"]) == 100 * 1024 * 1024
