"""Stores the videos of each successful task in a bucket, as {taskId}/{generationId}.{extension}."""

import contextlib
import http.client
import ipaddress
import json
import mimetypes
import os
import pathlib
import re
import socket
import ssl
import string
import threading
import time
from urllib.parse import quote, urljoin, urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

API = "https://pollo.ai/api/platform/generation"
API_KEY_SECRET_ARN, BUCKET, QUEUE_URL = [os.environ[name] for name in ["API_KEY_SECRET_ARN", "BUCKET", "QUEUE_URL"]]
MAX_BYTES, RETRY_SECONDS = [int(os.environ[name]) for name in ["MAX_BYTES", "RETRY_SECONDS"]]
READ_SECONDS = 20
# Reserved at the end of the invocation to clean up, log and respond.
SPARE_SECONDS = 30
PART = 8 * 1024 * 1024

TLS = ssl.create_default_context()
CONFIG = Config(connect_timeout=5, read_timeout=READ_SECONDS, retries={"mode": "standard"})
s3, secrets, sqs = [boto3.client(service, config=CONFIG) for service in ["s3", "secretsmanager", "sqs"]]
# One part at a time, so that memory does not grow with the video.
PARTS = TransferConfig(PART, multipart_chunksize=PART, use_threads=False, preferred_transfer_client="classic")
# If two deliveries run at the same time, the slower one gets PreconditionFailed, and its retry finds the object.
for call in ["PutObject", "CompleteMultipartUpload"]:
    s3.meta.events.register(f"provide-client-params.s3.{call}", lambda params, **_: params.update(IfNoneMatch="*"))
cache = {}


class Failure(Exception):
    """The reason why a message goes back to the queue."""


class NoLink(Failure):
    """A URL is missing or has expired. Pollo's API may have another one."""


def is_public(address):
    address = ipaddress.ip_address(address)
    # 6to4 addresses, and the reserved ones of NAT64, contain an IPv4 address that may be private.
    hidden = address.is_multicast or address.is_reserved or getattr(address, "sixtofour", None)
    return address.is_global and not hidden


@contextlib.contextmanager
def response_to(url, deadline, redirects=0, **headers):
    """The response to a GET over TLS, from an address that is not in a private network."""
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port or 443
    if parts.scheme != "https" or not host:
        raise Failure("a URL is not https")
    found = [entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in found:
        if not is_public(address):
            raise Failure(f"{host} has the address {address}, which is not public")
    with contextlib.closing(http.client.HTTPSConnection(host, port)) as connection:
        # Connects to the checked address, because a second lookup of the name could return another one.
        plain = socket.create_connection((found[0], port), READ_SECONDS)
        connection.sock = TLS.wrap_socket(plain, server_hostname=host)
        # READ_SECONDS does not limit a server that sends a byte now and then.
        end = threading.Timer(deadline - time.monotonic(), connection.sock.shutdown, [socket.SHUT_RDWR])
        end.start()
        try:
            target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
            connection.request("GET", quote(target, safe=string.punctuation), headers=headers)
            with connection.getresponse() as response:
                if redirects and response.status in (301, 302, 303, 307, 308):
                    target = urljoin(url, response.getheader("Location", ""))
                    with response_to(target, deadline, redirects - 1) as response:
                        yield response
                else:
                    yield response
        finally:
            end.cancel()


def ask_pollo(task, deadline):
    """The generations of a task, from Pollo's API."""
    for attempt in range(2):
        # A key that the API rejects may have been replaced since it was read.
        if attempt or "key" not in cache:
            cache["key"] = secrets.get_secret_value(SecretId=API_KEY_SECRET_ARN)["SecretString"].strip()
        url = f"{API}/{quoted(task)}/status"
        with response_to(url, deadline, **{"x-api-key": cache["key"]}) as response:
            if response.status == 200:
                body = json.loads(response.read(PART))
                # The documentation shows the bare object, but users report this envelope too.
                return (body.get("data") or body).get("generations")
            if response.status not in (401, 403):
                break
    raise Failure(f"Pollo's API responds {response.status}")


def quoted(text):
    """Escapes a part of a path, so that it is not `..` and contains no slash. Different texts stay different."""
    return quote(str(text), safe="").replace(".", "%2E")


class Download:
    """A file object for boto3 that reads the body of a response and fails if the body is incomplete."""

    def __init__(self, response):
        self.response, self.expected, self.received = response, response.length, 0
        if self.expected is None and not response.chunked:
            raise Failure("a file comes without its length")

    def read(self, size=PART):
        part = self.response.read(size)
        self.received += len(part)
        if max(self.received, self.expected or 0) > MAX_BYTES:
            raise Failure(f"a file has more than {MAX_BYTES} bytes")
        if len(part) < size and (self.received == 0 or self.expected not in (None, self.received)):
            raise Failure(f"a download ended after {self.received} of {self.expected} bytes")
        return part


def store(url, name, deadline):
    """Stores a file. Returns its key. S3 shows only complete objects, and boto3 aborts a failed upload."""
    with response_to(url, deadline, redirects=3) as response:
        if response.status in (403, 404, 410):
            raise NoLink(f"{urlsplit(url).hostname} responds {response.status}")
        if response.status != 200:
            raise Failure(f"{urlsplit(url).hostname} responds {response.status}")
        kind = response.headers.get_content_type() if "Content-Type" in response.headers else "application/octet-stream"
        extension = pathlib.PurePosixPath(urlsplit(url).path).suffix.lower()
        if not re.fullmatch("[.][a-z0-9]{1,5}", extension):
            extension = mimetypes.guess_extension(kind) or ".bin"
        s3.upload_fileobj(Download(response), BUCKET, name + extension, {"ContentType": kind}, Config=PARTS)
        return name + extension


def store_all(task, generations, deadline, line):
    """Stores the files that are not in the bucket yet, so a retry stores only what is missing."""
    if not generations:
        raise NoLink("there are no generations")
    for index, generation in enumerate(generations):
        name = f"{quoted(task)}/{quoted(generation.get('id') or index)}"
        if generation.get("status") == "failed":
            line["failed"].add(name)
        elif found := s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{name}.", MaxKeys=1).get("Contents"):
            line["present"].update({found[0]["Key"]} - line["objects"])
        elif generation.get("status") in ("waiting", "processing") or not generation.get("url"):
            raise NoLink(f"{name} is not ready")
        else:
            line["objects"].add(store(generation["url"], name, deadline))


def process(record, deadline, line):
    outcome = json.loads(record["body"])
    task = line["taskId"] = outcome["taskId"]
    try:
        store_all(task, outcome.get("generations"), deadline, line)
    except NoLink as error:
        if not API_KEY_SECRET_ARN:
            raise Failure(f"{error}, and there is no key of Pollo's API to ask for it") from None
        store_all(task, ask_pollo(task, deadline), deadline, line)
    if not line["objects"] | line["present"]:
        line["result"] = "nothing_to_store"


def handler(event, context):
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - SPARE_SECONDS
    failures = []
    for record in event["Records"]:
        # Keys in the bucket: stored now, stored before, and those of failed generations.
        line = {"result": "stored", "taskId": None, "objects": set(), "present": set(), "failed": set()}
        try:
            process(record, deadline, line)
        except Exception as error:  # noqa: BLE001 - every error must cause a retry
            # The text of other errors may contain the key, or a URL with its signature.
            told = isinstance(error, (Failure, ClientError, OSError))
            line.update(result="retry", reason=str(error) if told else type(error).__name__)
            failures.append({"itemIdentifier": record["messageId"]})
        print(json.dumps(line, default=sorted))
        if line["result"] == "retry":
            # Doubles the delay each time. Without this, the message becomes visible again only after an hour.
            seconds = min(RETRY_SECONDS * 2 ** (int(record["attributes"]["ApproximateReceiveCount"]) - 1), 3600)
            handle = record["receiptHandle"]
            sqs.change_message_visibility(QueueUrl=QUEUE_URL, ReceiptHandle=handle, VisibilityTimeout=seconds)
    return {"batchItemFailures": failures}
