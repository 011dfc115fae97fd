"""The function of examples/subscribers/videos as deployed, with a fake internet and emulators of AWS."""

import importlib.util
import json
import os
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
def authority(tmp_path_factory):
    """A certificate authority: its file, and the file with the key and the certificate of its hosts."""
    authority, folder = trustme.CA(), tmp_path_factory.mktemp("certificates")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    hosts = authority.issue_cert("pollo.ai", "cdn.example")
    hosts.private_key_and_cert_chain_pem.write_to_path(folder / "hosts.pem")
    return folder / "authority.pem", folder / "hosts.pem"


@pytest.fixture
def pollo(authority):
    with fake.pollo(authority[1:]) as double:
        double.url = "https://cdn.example"
        yield double


@pytest.fixture
def internet(pollo, monkeypatch):
    internet = Internet(monkeypatch.setattr, pollo.port)
    yield internet
    assert internet.plain == [], "nothing leaves in plain text"


class Subscriber:
    def __init__(self, moto_url, authority, patch):
        for name, value in {
            "AWS_ENDPOINT_URL": moto_url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "SSL_CERT_FILE": str(authority),
            "MAX_BYTES": str(len(VIDEO)),
            "RETRY_SECONDS": "60",
            "BUCKET": uuid.uuid4().hex,
        }.items():
            patch.setenv(name, value)
        self.s3, self.sqs, self.secrets = [boto3.client(name) for name in ["s3", "sqs", "secretsmanager"]]
        self.bucket, self.patch, self.seconds = os.environ["BUCKET"], patch, 60
        self.s3.create_bucket(Bucket=self.bucket)
        # Keeps what a second upload of an object would replace.
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        patch.setenv("QUEUE_URL", self.sqs.create_queue(QueueName=self.bucket)["QueueUrl"])
        self.secret = self.secrets.create_secret(Name=self.bucket, SecretString="key-1\n")["ARN"]
        self.configure(API_KEY_SECRET_ARN=self.secret)

    def configure(self, **environment):
        """Loads the function with this environment."""
        for name, value in environment.items():
            self.patch.setenv(name, value)
        specification = importlib.util.spec_from_file_location("store_videos", SOURCE)
        self.module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(self.module)

    def get_remaining_time_in_millis(self):
        # The function reserves 30 seconds.
        return (self.seconds + 30) * 1000

    def record(self, body, attempt=1):
        self.sqs.send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=body)
        [message] = self.sqs.receive_message(QueueUrl=os.environ["QUEUE_URL"])["Messages"]
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": body,
            "attributes": {"ApproximateReceiveCount": str(attempt)},
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:videos",
        }

    def objects(self):
        """The content of each object. Each was stored once, and no upload is unfinished."""
        versions = [version["Key"] for version in self.s3.list_object_versions(Bucket=self.bucket).get("Versions", [])]
        assert len(set(versions)) == len(versions)
        assert "Uploads" not in self.s3.list_multipart_uploads(Bucket=self.bucket)
        return {key: self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in versions}


@pytest.fixture
def subscriber(moto_url, authority, internet, monkeypatch):
    return Subscriber(moto_url, authority[0], monkeypatch)


@pytest.fixture
def receives(subscriber, capsys, caplog):
    """Processes a message and checks the response to Lambda. Returns the line of the log."""

    def receives(*generations, attempt=1, body=None, **outcome):
        body = body or json.dumps({"taskId": "t1", "status": "succeed", "generations": generations, **outcome})
        record = subscriber.record(body, attempt)
        response = subscriber.module.handler({"Records": [record]}, subscriber)
        printed = capsys.readouterr().out
        for secret in [SIGNED[1:], "key-"]:
            assert secret not in printed + caplog.text
        line = json.loads(printed)
        failed = [{"itemIdentifier": record["messageId"]}] if line["result"] == "retry" else []
        assert response == {"batchItemFailures": failed}
        return line

    return receives
