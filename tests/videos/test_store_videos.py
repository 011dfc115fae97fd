"""What the function stores, retries and logs."""

import socket
import subprocess
import sys
import time

import pytest

from tests.videos.conftest import SIGNED, SOURCE, VIDEO
from tests.videos.pollo import drips, reports, sends


@pytest.fixture
def receives(subscriber, capsys):
    return lambda *generations, **options: subscriber.receives(capsys, *generations, **options)


@pytest.fixture
def video(pollo):
    """The URL of a video that can be downloaded."""
    return pollo.responds("/a/b.MP4" + SIGNED, sends(200, VIDEO))


def test_each_video_is_stored_once_byte_for_byte(subscriber, pollo, receives, video):
    image = pollo.responds("/image", sends(200, b"1", Content_Type="image/png"))
    other = pollo.responds("/v1.download", sends(200, b"2"))
    generations = [
        {"id": "g1", "url": video},
        {"id": "g", "url": image},
        {"url": other},
        {"id": "g4", "status": "failed"},
    ]
    keys = ["t1/2.bin", "t1/g.png", "t1/g1.mp4"]
    line = receives(*generations)
    assert line == {"result": "stored", "taskId": "t1", "objects": keys, "present": [], "failed": ["t1/g4"]}
    assert subscriber.objects() == {"t1/g1.mp4": VIDEO, "t1/g.png": b"1", "t1/2.bin": b"2"}
    assert subscriber.s3.head_object(Bucket=subscriber.bucket, Key="t1/g.png")["ContentType"] == "image/png"
    line = receives(*generations)
    assert line == {"result": "stored", "taskId": "t1", "objects": [], "present": keys, "failed": ["t1/g4"]}
    assert len(pollo.requests) == 3


@pytest.mark.parametrize("wrapped", [False, True])
def test_missing_urls_are_requested_from_the_api(subscriber, pollo, receives, video, wrapped):
    pollo.responds("/api/t1/status", reports({"id": "g1", "status": "succeed", "url": video}, wrapped=wrapped))
    assert receives()["objects"] == ["t1/g1.mp4"]
    assert receives({"id": "g1", "status": "processing"})["present"] == ["t1/g1.mp4"]
    assert pollo.keys == ["key-1", None]


def test_an_expired_url_is_replaced_by_one_from_the_api(subscriber, pollo, receives, video):
    image, expired = pollo.responds("/1.png", sends(200, b"1")), pollo.responds("/expired", sends(403))
    pollo.responds("/api/t1/status", reports({"id": "g1", "url": image}, {"id": "g2", "url": video}))
    line = receives({"id": "g1", "url": image}, {"id": "g2", "url": expired})
    assert (line["objects"], line["present"]) == (["t1/g1.png", "t1/g2.mp4"], [])
    assert subscriber.objects() == {"t1/g1.png": b"1", "t1/g2.mp4": VIDEO}


def test_a_rejected_api_key_is_read_again(subscriber, pollo, receives, video):
    pollo.responds("/api/t1/status", sends(401), reports({"id": "g1", "url": video}), sends(403))
    subscriber.module.cache["key"] = "key-0"
    assert receives()["result"] == "stored"
    assert receives()["reason"] == "Pollo's API responds 403"
    assert [key for key in pollo.keys if key] == ["key-0", "key-1", "key-1", "key-1"]


def test_a_missing_api_key_is_logged(subscriber, pollo, receives):
    subscriber.module.API_KEY_SECRET_ARN = ""
    missing = "and there is no key of Pollo's API to ask for it"
    assert receives()["reason"] == f"there are no generations, {missing}"
    expired = pollo.responds("/expired", sends(403))
    assert receives({"url": expired + SIGNED})["reason"] == f"localhost responds 403, {missing}"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (sends(404), "Pollo's API responds 404"),
        (sends(429), "Pollo's API responds 429"),
        (sends(500), "Pollo's API responds 500"),
        (sends(302, Location="https://localhost/"), "Pollo's API responds 302"),
        (sends(200, b"<html>"), "JSONDecodeError"),
        (reports(), "there are no generations"),
        (reports({"id": "g1", "status": "processing", "url": "https://localhost/"}), "t1/g1 is not ready"),
        (reports({"id": "g1", "status": "succeed", "url": ""}), "t1/g1 is not ready"),
        (sends(200, b'{"code":"NOT_FOUND","message":"no such task"}'), "there are no generations"),
    ],
)
def test_a_failed_request_to_the_api_is_retried(subscriber, pollo, receives, video, response, reason):
    pollo.responds("/api/t1/status", response, reports({"id": "g1", "status": "succeed", "url": video}))
    line = receives()
    assert (line["result"], line["reason"]) == ("retry", reason)
    assert receives(attempt=2)["objects"] == ["t1/g1.mp4"]


CHUNKED = {"Content_Length": None, "Transfer_Encoding": "chunked"}


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (sends(500), "localhost responds 500"),
        (sends(429), "localhost responds 429"),
        (sends(200, VIDEO, Content_Length=len(VIDEO) + 1), "a file has more than 10240000 bytes"),
        (sends(200, b"9c4001\r\n%b\r\n0\r\n\r\n" % (VIDEO + b"x"), **CHUNKED), "a file has more than 10240000 bytes"),
        (sends(200, b"9c4000\r\n" + VIDEO[:-1], **CHUNKED), "IncompleteRead"),
        (sends(200, VIDEO[:-1], Content_Length=len(VIDEO)), "a download ended after 10239999 of 10240000 bytes"),
        (sends(200, b"x", Content_Length=2), "a download ended after 1 of 2 bytes"),
        (sends(200), "a download ended after 0 of 0 bytes"),
        (sends(200, VIDEO, Content_Length=None), "a file comes without its length"),
        (sends(302, Location="http://localhost/"), "a URL is not https"),
        (sends(302, Location="https://10.0.0.1/"), "10.0.0.1 has the address 10.0.0.1, which is not public"),
        (sends(302, Location="/video"), "localhost responds 302"),
        (drips, "a download ended after"),
    ],
)
def test_a_failed_download_stores_nothing_and_is_retried(subscriber, pollo, receives, response, reason):
    url = pollo.responds("/video" + SIGNED, *[response] * 4)
    subscriber.seconds = 1 if response is drips else 60
    line = receives({"id": "g1", "url": url})
    assert (line["result"], line["objects"], subscriber.objects()) == ("retry", [], {})
    assert line["reason"].startswith(reason)
    subscriber.seconds = 60
    pollo.responds("/video", sends(200, VIDEO))
    assert receives({"id": "g1", "url": url})["objects"] == ["t1/g1.bin"]
    assert subscriber.objects() == {"t1/g1.bin": VIDEO}


def test_a_download_that_times_out_is_retried(subscriber, pollo, receives):
    subscriber.module.READ_SECONDS = 0.2
    url = pollo.responds("/video", lambda _: time.sleep(1))
    assert receives({"id": "g1", "url": url})["reason"] == "The read operation timed out"


def test_up_to_three_redirects_are_followed(subscriber, pollo, receives, video):
    hops = [pollo.responds(f"/{n}", sends(302, Location=f"/{n + 1}")) for n in range(2)]
    pollo.responds("/2", sends(302, Location=video))
    assert receives({"id": "g1", "url": hops[0]})["objects"] == ["t1/g1.bin"]
    assert pollo.requests == ["/0", "/1", "/2", "/a/b.MP4" + SIGNED]
    pollo.responds("/2", sends(302, Location="/0"))
    assert receives({"id": "g2", "url": hops[0]})["reason"] == "localhost responds 302"
    assert pollo.requests[4:] == ["/0", "/1", "/2", "/0"]


def test_a_retry_does_not_download_stored_videos_again(subscriber, pollo, receives, video):
    other = pollo.responds("/other", sends(500), sends(200, b"2"))
    generations = [{"id": "g1", "url": video}, {"id": "g2", "url": other}]
    assert receives(*generations)["objects"] == ["t1/g1.mp4"]
    line = receives(*generations)
    assert (line["objects"], line["present"]) == (["t1/g2.bin"], ["t1/g1.mp4"])
    assert pollo.requests == ["/a/b.MP4" + SIGNED, "/other", "/other"]


def test_only_one_of_two_concurrent_deliveries_stores_the_video(subscriber, pollo, receives):
    def is_overtaken(handler):
        subscriber.s3.put_object(Bucket=subscriber.bucket, Key="t1/g1.bin", Body=b"first")
        sends(200, b"second")(handler)

    url = pollo.responds("/video", is_overtaken)
    assert "(PreconditionFailed)" in receives({"id": "g1", "url": url})["reason"]
    assert receives({"id": "g1", "url": url})["present"] == ["t1/g1.bin"]
    assert subscriber.objects() == {"t1/g1.bin": b"first"}


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"]
    + ["240.0.0.1", "::1", "::", "fe80::1%1", "fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1"]
    + ["64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::", "2001:db8::1", "2001::1"],
)
def test_a_private_or_reserved_address_is_rejected(subscriber, address):
    assert not subscriber.is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_a_public_address_is_allowed(subscriber, address):
    assert subscriber.is_public(address)


@pytest.fixture
def resolves(monkeypatch):
    """Sets the addresses that each DNS lookup returns. Returns the list of names that are looked up."""
    lookup = socket.getaddrinfo

    def resolves(*results):
        names, results = [], list(results)

        def resolve(host, *rest, **options):
            if host == "127.0.0.1":
                return lookup(host, *rest, **options)
            names.append(host)
            return [found for address in results.pop(0) for found in lookup(address, *rest, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return names

    return resolves


def test_a_host_with_one_private_address_is_rejected(pollo, receives, video, resolves):
    resolves(["127.0.0.1", "10.0.0.1"])
    assert receives({"url": video})["reason"] == "localhost has the address 10.0.0.1, which is not public"
    assert pollo.requests == []


def test_the_function_connects_to_the_checked_address(receives, video, resolves):
    names = resolves(["127.0.0.1"], ["10.0.0.1"])
    assert receives({"url": video})["result"] == "stored"
    assert names == ["localhost"]


def test_a_certificate_of_another_host_is_rejected(pollo, receives, video, resolves):
    resolves(["127.0.0.1"])
    reason = receives({"url": video.replace("localhost", "video.example")})["reason"]
    assert "Hostname mismatch, certificate is not valid for 'video.example'" in reason
    assert pollo.requests == []


def test_ids_are_escaped_in_object_keys_and_api_paths(subscriber, pollo, receives, video):
    pollo.responds("/api/%2E%2E%2Fa%3F/status", reports({"id": "../b", "url": video}))
    assert receives(taskId="../a?")["objects"] == ["%2E%2E%2Fa%3F/%2E%2E%2Fb.mp4"]
    assert subscriber.objects() == {"%2E%2E%2Fa%3F/%2E%2E%2Fb.mp4": VIDEO}


def test_each_retry_waits_twice_as_long_up_to_an_hour(subscriber, receives, monkeypatch):
    waits = []
    monkeypatch.setattr(
        subscriber.module.sqs, "change_message_visibility", lambda **call: waits.append(call["VisibilityTimeout"])
    )
    for attempt in [1, 2, 3, 8]:
        assert receives(body="[]", attempt=attempt)["reason"] == "TypeError"
    assert waits == [60, 120, 240, 3600]


def test_an_outcome_without_videos_is_logged_as_nothing_to_store(receives):
    assert receives({"id": "g1", "status": "failed"})["result"] == "nothing_to_store"


def test_memory_does_not_grow_with_the_video(subscriber, pollo):
    urls = [pollo.responds(path, sends(200, bytes(size))) for path, size in [("/1", 1), ("/2", 100 * 1024 * 1024)]]
    # A process inherits ru_maxrss from its parent, so the test reads VmHWM.
    script = r"""if True:
        import pathlib, re, sys, store_videos
        store_videos.is_public = lambda address: True
        store_videos.MAX_BYTES = 10**9
        for url in sys.argv[1:]:
            store_videos.store(url, url[-1], 1e9)
            print(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
    """
    ran = subprocess.run([sys.executable, "-c", script, *urls], cwd=SOURCE.parent, stdout=subprocess.PIPE, check=True)
    small, large = map(int, ran.stdout.split())
    assert (large - small) * 1024 <= 2 * subscriber.module.PART
    assert len(subscriber.objects()["2.bin"]) == 100 * 1024 * 1024
