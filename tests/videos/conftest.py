"""The function of examples/subscribers/videos as deployed, with a fake internet and emulators of AWS."""

import importlib.util
import json
import uuid

import boto3
import pytest
import trustme

from local.emulators import CHECKOUT
from tests.videos import pollo as fake
from tests.videos.internet import Internet

SOURCE = CHECKOUT / "examples" / "subscribers" / "videos" / "store_videos.py"
VIDEO = bytes(range(256)) * 40_000
SIGNED = "?Signature=c2VjcmV0"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """The files of a certificate authority, and of the key and the certificate of the hosts."""
    authority, folder = trustme.CA(), tmp_path_factory.mktemp("certificates")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    hosts = authority.issue_cert("pollo.ai", "cdn.example")
    hosts.private_key_and_cert_chain_pem.write_to_path(folder / "hosts.pem")
    return folder / "authority.pem", folder / "hosts.pem"


@pytest.fixture
def pollo(certificates):
    with fake.pollo(certificates[1:]) as double:
        double.url = "https://cdn.example"
        yield double


@pytest.fixture
def internet(pollo, monkeypatch):
    internet = Internet(monkeypatch.setattr, pollo.port)
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
def subscriber(moto_url, certificates, internet, monkeypatch):
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]:
        monkeypatch.setenv(name, "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[0]))
    monkeypatch.setenv("MAX_BYTES", str(len(VIDEO)))
    monkeypatch.setenv("RETRY_SECONDS", "60")
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
