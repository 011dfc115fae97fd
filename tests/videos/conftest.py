"""The function of examples/subscribers/videos, with a fake Pollo and emulators of S3, SQS and Secrets Manager."""

import importlib.util
import json
import os
import uuid

import boto3
import pytest

from local.emulators import ADDRESS, CHECKOUT
from tests.certificate import self_signed_certificate
from tests.videos import pollo as fake

SOURCE = CHECKOUT / "examples" / "subscribers" / "videos" / "store_videos.py"
VIDEO = bytes(range(256)) * 40_000
SIGNED = "?Signature=c2VjcmV0"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return self_signed_certificate(tmp_path_factory.mktemp("pollo"))


@pytest.fixture
def pollo(certificate):
    with fake.pollo(certificate) as double:
        yield double


class Subscriber:
    """The function as deployed, except for the address of Pollo's API and the allowed addresses."""

    def __init__(self, moto_url, pollo, certificate, patch):
        for name, value in {
            "AWS_ENDPOINT_URL": moto_url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "SSL_CERT_FILE": str(certificate[0]),
            "MAX_BYTES": str(len(VIDEO)),
            "RETRY_SECONDS": "60",
            "BUCKET": uuid.uuid4().hex,
        }.items():
            patch.setenv(name, value)
        self.s3, self.sqs, self.secrets = [boto3.client(name) for name in ["s3", "sqs", "secretsmanager"]]
        self.bucket, self.patch, self.seconds = os.environ["BUCKET"], patch, 60
        self.s3.create_bucket(Bucket=self.bucket)
        patch.setenv("QUEUE_URL", self.sqs.create_queue(QueueName=self.bucket)["QueueUrl"])
        self.secret = self.secrets.create_secret(Name=self.bucket, SecretString="key-1\n")["ARN"]
        patch.setenv("API_KEY_SECRET_ARN", self.secret)
        self.pollo, self.printed = pollo, ""
        self.load()

    def load(self):
        specification = importlib.util.spec_from_file_location("store_videos", SOURCE)
        self.module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(self.module)
        self.is_public = self.module.is_public
        self.patch.setattr(self.module, "is_public", lambda address: address == ADDRESS or self.is_public(address))
        self.patch.setattr(self.module, "API", f"{self.pollo.url}/api")

    def get_remaining_time_in_millis(self):
        return (self.seconds + self.module.SPARE_SECONDS) * 1000

    def receives(self, capsys, *generations, attempt=1, body=None, **outcome):
        """Processes a message and checks the response to Lambda. Returns the log line."""
        body = body or json.dumps({"taskId": "t1", "status": "succeed", "generations": generations, **outcome})
        self.sqs.send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=body)
        [message] = self.sqs.receive_message(QueueUrl=os.environ["QUEUE_URL"])["Messages"]
        record = {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": body,
            "attributes": {"ApproximateReceiveCount": str(attempt)},
        }
        response = self.module.handler({"Records": [record]}, self)
        printed = capsys.readouterr().out
        assert SIGNED[1:] not in printed and "key-" not in printed
        line = json.loads(printed)
        failed = [{"itemIdentifier": message["MessageId"]}] if line["result"] == "retry" else []
        assert response == {"batchItemFailures": failed}
        return line

    def objects(self):
        keys = [item["Key"] for item in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]
        assert "Uploads" not in self.s3.list_multipart_uploads(Bucket=self.bucket)
        return {key: self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}


@pytest.fixture
def subscriber(moto_url, pollo, certificate, monkeypatch):
    return Subscriber(moto_url, pollo, certificate, monkeypatch)
