"""The function in Python: verifies as Pollo's sample does and publishes with boto3. Ends with Lambda's event loop."""

import base64
import hashlib
import hmac
import http.client
import json
import os

import boto3

sns = boto3.client("sns")
key = base64.b64decode(os.environ["WEBHOOK_SECRET"])
topic = os.environ["SNS_TOPIC_ARN"]


def handler(event):
    headers, body = event["headers"], event["body"]
    webhook_id, timestamp = headers["x-webhook-id"], headers["x-webhook-timestamp"]
    content = f"{webhook_id}.{timestamp}.{body}".encode()
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    if not hmac.compare_digest(headers["x-webhook-signature"], expected):
        print(json.dumps({"level": "WARN", "message": "signature does not match"}), flush=True)
        return respond(401, {"error": "signature does not match"})

    outcome = json.loads(body)
    attributes = {
        "status": outcome["status"],
        "taskId": outcome["taskId"],
        "webhookId": webhook_id,
        "webhookTimestamp": timestamp,
    }
    published = sns.publish(
        TopicArn=topic,
        Message=body,
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    )
    print(json.dumps({"level": "INFO", "messageId": published["MessageId"]}), flush=True)
    return respond(200, {"messageId": published["MessageId"]})


def respond(status, body):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


def main():
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", "/2018-06-01/runtime/invocation/next")
        got = api.getresponse()
        request_id, event = got.getheader("Lambda-Runtime-Aws-Request-Id"), json.loads(got.read())
        api.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", json.dumps(handler(event)))
        api.getresponse().read()


main()
