"""The function of examples/subscribers/videos as deployed, with a fake internet and emulators of AWS."""

import importlib.util
import json
import ssl
import uuid

import boto3
import pytest
import trustme

from local.emulators import CHECKOUT
from tests.videos.hosts import Internet, Pollo

SOURCE = CHECKOUT / "examples" / "subscribers" / "videos" / "store_videos.py"
VIDEO = bytes(range(256)) * 40_000
SIGNED = "?Signature=c2VjcmV0"


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture
def pollo(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("pollo.ai", "cdn.example").configure_cert(context)
    return Pollo(context)


@pytest.fixture
def internet(pollo, monkeypatch):
    internet = Internet(monkeypatch.setattr)
    internet.host("pollo.ai", "8.8.8.8", pollo.serve)
    internet.host("cdn.example", "9.9.9.9", pollo.serve)
    yield internet
    assert internet.plain == []


class Subscriber:
    seconds = 60

    def __init__(self, patch):
        self.patch, self.bucket = patch, uuid.uuid4().hex
        self.s3, self.sqs, self.secrets = [boto3.client(name) for name in ["s3", "sqs", "secretsmanager"]]
        self.s3.create_bucket(Bucket=self.bucket)
        # Keeps what another upload of an object would replace.
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        self.queue = self.sqs.create_queue(QueueName=self.bucket)["QueueUrl"]
        self.secret = self.secrets.create_secret(Name=self.bucket, SecretString="key-1\n")["ARN"]
        self.load(BUCKET=self.bucket, QUEUE_URL=self.queue, API_KEY_SECRET_ARN=self.secret)

    def load(self, **environment):
        for name, value in environment.items():
            self.patch.setenv(name, value)
        specification = importlib.util.spec_from_file_location("store_videos", SOURCE)
        self.module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(self.module)

    def get_remaining_time_in_millis(self):
        # The function reserves 30 seconds.
        return (self.seconds + 30) * 1000

    def record(self, body, attempt=1, kind=""):
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)
        [message] = self.sqs.receive_message(QueueUrl=self.queue)["Messages"]
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": body,
            "attributes": {"ApproximateReceiveCount": str(attempt)},
            "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:videos{kind}",
        }

    def objects(self):
        """The content of each object. Each was stored once, and no upload is unfinished."""
        keys = [version["Key"] for version in self.s3.list_object_versions(Bucket=self.bucket).get("Versions", [])]
        assert len(set(keys)) == len(keys)
        assert "Uploads" not in self.s3.list_multipart_uploads(Bucket=self.bucket)
        return {key: self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}


@pytest.fixture
def subscriber(moto_url, authority, internet, monkeypatch, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": moto_url,
        "SSL_CERT_FILE": str(tmp_path / "authority.pem"),
        "MAX_BYTES": str(len(VIDEO)),
        "RETRY_SECONDS": "60",
    }.items():
        monkeypatch.setenv(name, value)
    return Subscriber(monkeypatch)


@pytest.fixture
def receives(subscriber, capsys, caplog):
    """Processes a message and checks the response to Lambda. Returns the line of the log."""

    def receives(*generations, attempt=1, body=None, **outcome):
        body = body or json.dumps({"taskId": "t1", "status": "succeed", "generations": generations, **outcome})
        record = subscriber.record(body, attempt)
        response = subscriber.module.handler({"Records": [record]}, subscriber)
        printed = capsys.readouterr().out
        assert SIGNED[1:] not in printed + caplog.text and "key-" not in printed + caplog.text
        line = json.loads(printed)
        failed = [{"itemIdentifier": record["messageId"]}] if line["result"] == "retry" else []
        assert response == {"batchItemFailures": failed}
        return line

    return receives
