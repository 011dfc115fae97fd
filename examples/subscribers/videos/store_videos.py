"""Stores the files of each successful task in a bucket, as {taskId}/{generationId}.{extension}."""

import contextlib
import ipaddress
import json
import logging
import mimetypes
import os
import re
import ssl
import time
from urllib.parse import quote, urljoin

import boto3
import urllib3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

API = "https://pollo.ai/api/platform"
API_KEY_SECRET_ARN, BUCKET, QUEUE = [os.environ[name] for name in ["API_KEY_SECRET_ARN", "BUCKET", "QUEUE_URL"]]
MAX_BYTES, RETRY_SECONDS = [int(os.environ[name]) for name in ["MAX_BYTES", "RETRY_SECONDS"]]
# The longest wait for a host, the reserve at the end of an invocation to clean up and respond, and a part of a file.
READ_SECONDS, SPARE_SECONDS, PART = 20, 30, 8 * 1024 * 1024
# IPv4 multicast, and the IPv6 addresses that can contain a private IPv4 address or are not in use.
NOT_PUBLIC = [ipaddress.ip_network(text) for text in ["224.0.0.0/4", "2002::/16", "::/3", "4000::/2", "8000::/1"]]
TLS = ssl.create_default_context()
# Without this, urllib3 logs the URL of a response whose headers it cannot parse.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)
CONFIG = Config(connect_timeout=5, read_timeout=READ_SECONDS, retries={"mode": "standard"})
s3, secrets, sqs = [boto3.client(service, config=CONFIG) for service in ["s3", "secretsmanager", "sqs"]]
# One part at a time, so that memory does not grow with the file.
PARTS = TransferConfig(PART, multipart_chunksize=PART, use_threads=False, preferred_transfer_client="classic")
# If two deliveries run at the same time, the slower one gets PreconditionFailed, and its retry finds the object.
for call in ["PutObject", "CompleteMultipartUpload"]:
    s3.meta.events.register(f"provide-client-params.s3.{call}", lambda params, **_: params.update(IfNoneMatch="*"))


class Failure(Exception):
    """The reason why a file is not stored, and its message goes back to the queue."""


class Socket(ssl.SSLSocket):
    """A connection to a public address, until `deadline` and for `most_bytes`. There is one at a time."""

    def do_handshake(self, *arguments):
        # The address of the peer, because another lookup of the host's name could return another one.
        address = ipaddress.ip_address(self.getpeername()[0])
        if not address.is_global or any(address in network for network in NOT_PUBLIC):
            self.close()
            raise Failure(f"the host has the address {address}, which is not public")
        self.limit()
        super().do_handshake(*arguments)

    def recv_into(self, *arguments):
        self.limit()
        received = super().recv_into(*arguments)
        Socket.most_bytes -= received
        return received

    def limit(self):
        """Limits the time from the first to the last byte of the next handshake or read."""
        seconds = min(Socket.deadline - time.monotonic(), READ_SECONDS)
        if seconds <= 0 or Socket.most_bytes < 0:
            raise Failure("the time is up, or a response has too many bytes")
        self.settimeout(seconds)


def get(url, redirects=0, **headers):
    """The response to a GET over TLS."""
    parts = urllib3.util.parse_url(url)
    if parts.scheme != "https" or not parts.host:
        raise Failure("a URL is not https")
    TLS.sslsocket_class, Socket.most_bytes = Socket, PART
    pool = urllib3.HTTPSConnectionPool(parts.host, parts.port, timeout=2, retries=False, ssl_context=TLS)
    headers = {"User-Agent": "pollo-webhook", "Accept-Encoding": "identity", **headers}
    response = pool.urlopen("GET", parts.request_uri, headers=headers, redirect=False, preload_content=False)
    target = redirects and response.get_redirect_location()
    if not target:
        return response
    response.close()
    return get(urljoin(url, target), redirects - 1)


def ask_pollo(task):
    """The generations of a task, from version 1 of Pollo's API, or from the older one if the response is 404."""
    if not API_KEY_SECRET_ARN:
        raise Failure("there is no key of Pollo's API")
    key = secrets.get_secret_value(SecretId=API_KEY_SECRET_ARN)["SecretString"].strip()
    for version in ["/v1", ""]:
        response = get(f"{API}{version}/generation/{quoted(task)}/status", **{"x-api-key": key})
        body = response.read()
        if response.status != 404:
            break
    if not body.startswith(b"{"):
        raise Failure(f"a response {response.status} is not from Pollo's API, but from a server in front of it")
    if response.status != 200:
        raise Failure(f"Pollo's API responds {response.status}")
    return generations_of(task, json.loads(body))


def generations_of(task, document):
    """The generations in an outcome or a response, by name. Those with the same name cannot be stored."""
    document = document if document.get("generations") else document.get("data") or document
    found = document.get("generations") or document.get("result") or []
    names = [f"{quoted(task)}/{quoted(generation.get('id') or index)}" for index, generation in enumerate(found)]
    return {name: generation if names.count(name) == 1 else {} for name, generation in zip(names, found)}


def quoted(text):
    """Escapes a part of a path, so that it is not `..` and contains no slash. Different texts stay different."""
    return quote(str(text), safe="").replace(".", "%2E")


class Download:
    """A file object for boto3, which reads until a part is empty. Fails if a body is incomplete or too large."""

    def __init__(self, response):
        self.response, self.received, self.expected = response, 0, response.length_remaining
        coded, chunks = [response.headers.get(f"{what}-Encoding", "").lower() for what in ["Content", "Transfer"]]
        # Without a length, a body ends with the connection, which can also break.
        if coded not in ("", "identity") or chunks not in ("", "chunked") or not (chunks or self.expected is not None):
            raise Failure("a file comes encoded or without its length")

    def read(self, size=PART):
        if max(self.received, self.expected or 0) > MAX_BYTES:
            raise Failure(f"a file has more than {MAX_BYTES} bytes")
        Socket.most_bytes = 2 * PART
        part = self.response.read(size)
        self.received += len(part)
        if len(part) < size and (self.received == 0 or self.expected not in (None, self.received)):
            raise Failure(f"a download ended after {self.received} of {self.expected} bytes")
        return part


def store_once(name, generation, line):
    """Stores the file of a generation. S3 shows only complete objects, and boto3 aborts a failed upload."""
    url = generation.get("url") or generation.get("videoUrl")
    if generation.get("status") == "failed":
        line["failed"].append(name)
    elif generation.get("mediaType") == "text":
        line["skipped"].append(name)
    elif found := s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{name}.", MaxKeys=1).get("Contents"):
        line["present"].append(found[0]["Key"])
    elif not url or generation.get("status") in ("waiting", "processing"):
        raise Failure("it has no URL yet, or no id of its own")
    else:
        with contextlib.closing(get(url, redirects=3)) as response:
            kind = response.headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip().lower()
            # Refuses pages and error messages. Hosts send files with many other types, or without one.
            if response.status != 200 or re.match(r"(text|multipart)/|application/([^/]+\+)?(json|xml)\b", kind):
                raise Failure(f"the host responds {response.status} {kind}")
            suffix = re.search("[.][a-z0-9]{1,5}$", (urllib3.util.parse_url(url).path or "").lower())
            key = name + (suffix[0] if suffix else mimetypes.guess_extension(kind) or ".bin")
            s3.upload_fileobj(Download(response), BUCKET, key, {"ContentType": kind}, Config=PARTS)
            line["objects"].append(key)


def process(record, line):
    outcome, reasons = json.loads(record["body"]), []
    task = line["taskId"] = outcome["taskId"]
    generations = generations_of(task, outcome) or ask_pollo(task)
    for name, generation in generations.items():
        try:
            store_once(name, generation, line)
        except Exception as error:  # noqa: BLE001 - the URL may have expired
            try:
                store_once(name, ask_pollo(task).get(name, {}), line)
            except Exception as second:  # noqa: BLE001 - the other files can be stored
                reasons.append(f"{name}: {text_of(error)}; {text_of(second)}")
    if reasons or not generations:
        raise Failure("; ".join(reasons) or "there are no generations")
    if not line["objects"] + line["present"]:
        line["result"] = "nothing_to_store"


def text_of(error):
    """Only the type of some errors, because their text may contain the key, or a URL with its signature."""
    told = isinstance(error, (Failure, urllib3.exceptions.HTTPError, s3.exceptions.ClientError))
    return str(error) if told and not isinstance(error, ValueError) else type(error).__name__


def handler(event, context):
    Socket.deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - SPARE_SECONDS
    failures = []
    for record in event["Records"]:
        # Keys in the bucket, stored now and before, and the names of what Pollo reports as failed or as text.
        line = {"result": "stored", "taskId": None, "objects": [], "present": [], "failed": [], "skipped": []}
        try:
            if failures and record["eventSourceARN"].endswith(".fifo"):
                raise Failure("an earlier message of the FIFO queue has failed")
            process(record, line)
        except Exception as error:  # noqa: BLE001 - every error must cause a retry
            line.update(result="retry", reason=text_of(error)[:1000])
            failures.append({"itemIdentifier": record["messageId"]})
        print(json.dumps(line))
        if line["result"] == "retry":
            # Doubles the delay each time. Without this, the message becomes visible again only after an hour.
            wait = min(RETRY_SECONDS * 2 ** (int(record["attributes"]["ApproximateReceiveCount"]) - 1), 3600)
            sqs.change_message_visibility(QueueUrl=QUEUE, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=wait)
    return {"batchItemFailures": failures}
