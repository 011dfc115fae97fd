"""Shows each outcome that a deployed stack publishes: `make listen STACK=pollo-webhook`."""

import contextlib
import json
import re
import secrets
import signal
import time
from pathlib import Path

from operate.function_url import Unreachable, exchange
from operate.terminal import STACK, Failure, click, http_url, printable, say, setting

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SAMPLE = Path(__file__).resolve().parent.parent / "events" / "succeed.json"

# In seconds. Ten messages are handled before they become visible again. The queue of a killed listener is soon empty.
ATTRIBUTES = {"VisibilityTimeout": "300", "MessageRetentionPeriod": "900", "SqsManagedSseEnabled": "true"}

# A queue of this age is removed. AWS rejects the requests of a machine whose clock is wrong by more than 15 minutes.
LEFTOVER_SECONDS = 60 * 60


def filter_policy(text):
    """The text of a filter policy on attributes. SNS checks what is in its lists."""
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError):
        policy = None
    if not isinstance(policy, dict) or not all(isinstance(value, list) and value for value in policy.values()):
        expected = 'a JSON object with a list for each attribute, such as {"status": ["failed"]}'
        raise click.BadParameter(f"{text!r} is not a filter policy; expected {expected}.")
    return text


def folder(text):
    """The folder in a setting, which is created if it is missing."""
    try:
        Path(text).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(f"{text!r} is not a folder: {error.strerror}.") from None
    return Path(text)


@click.command()
@STACK
@setting("FILTER", 'A filter policy on attributes, such as {"status": ["failed"]}.', type=filter_policy)
@setting("FORWARD", "Send each outcome to this URL by POST, such as http://localhost:3000/.", type=http_url)
@setting("SAVE", "Save each outcome as a sample event in this folder.", type=folder)
def listen(stack, filter, forward, save):
    """Shows each published outcome until Ctrl-C: make listen STACK=pollo-webhook.

    Subscribes a temporary queue to the topic, and removes both at the end. FORWARD sends the attributes as headers.
    """
    from operate import aws

    topic = aws.read_stack(stack)["TopicArn"]
    for number in SIGNALS:
        signal.signal(number, end)
    with aws.sentences(), contextlib.suppress(KeyboardInterrupt):
        queues = Queues(stack, topic)
        for message in queues.leftovers():
            handle(message, forward, save)
        with queues.subscribed(filter) as url:
            say(f"Listening to {topic}. Ctrl-C stops it.")
            while True:
                for message in queues.messages(url, 5):
                    handle(message, forward, save)
    say("\nRemoved the queue and its subscription.")


def end(*_):
    """Stops listening at the first signal. Ignores further signals, so that the queue is removed."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class Queues:
    """The temporary queues of the listeners to a stack."""

    def __init__(self, stack, topic):
        from operate import aws

        self.aws, self.topic = aws, topic
        self.sns, self.sqs = aws.client("sns", topic), aws.client("sqs", topic)
        # A queue's name has up to 80 characters.
        self.prefix = f"pollo-webhook-listen-{stack[:50]}-"

    @contextlib.contextmanager
    def subscribed(self, filter_policy):
        """Subscribes a new queue to the topic, and removes both after the block. Yields the queue's URL."""
        name = f"{self.prefix}{secrets.token_hex(4)}"
        arn = ":".join([*self.topic.split(":")[:5], name]).replace(":sns:", ":sqs:", 1)
        attributes = {"RawMessageDelivery": "true"} | ({"FilterPolicy": filter_policy} if filter_policy else {})
        try:
            # A policy that is set later can take 60 seconds to be in force.
            url = self.sqs.create_queue(QueueName=name, Attributes=ATTRIBUTES | {"Policy": policy(arn, self.topic)})
            subscribed = self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
            if not subscribed["SubscriptionArn"].startswith("arn:"):
                raise Failure(f"{self.topic} does not confirm the subscription: use credentials of its account.")
            yield url["QueueUrl"]
        except self.sqs.exceptions.QueueDoesNotExist:
            raise Failure("The queue was removed: another `make listen` does that after an hour.") from None
        finally:
            self.unsubscribe(name)
            self.delete(name)

    def messages(self, url, wait):
        """Yields messages until none comes within `wait` seconds, and deletes each before the next one."""
        names = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["SentTimestamp"]}
        limits = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": wait}
        while received := self.patiently(self.sqs.receive_message, QueueUrl=url, **limits, **names).get("Messages"):
            for message in received:
                yield message
                self.patiently(self.sqs.delete_message, QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def patiently(self, call, **parameters):
        """Calls SQS until it responds: the queue keeps messages while the network is gone."""
        gone = False
        while True:
            try:
                return call(**parameters)
            except self.aws.NETWORK as error:
                if not gone:
                    say(f"\n{self.aws.sentence(error)}\nTrying again until it can be reached.")
                gone = True
                time.sleep(2)

    def leftovers(self):
        """Removes queues that are an hour old after yielding what they contain, and names the younger ones."""
        pages = self.sqs.get_paginator("list_queues").paginate(QueueNamePrefix=self.prefix)
        for url in [url for page in pages for url in page.get("QueueUrls", [])]:
            name = url.rpartition("/")[2]
            # The prefix also matches queues of a stack whose name begins with this one's.
            if not re.fullmatch("[0-9a-f]{8}", name.removeprefix(self.prefix)):
                continue
            # SQS lists a queue for up to a minute after its deletion.
            with contextlib.suppress(self.sqs.exceptions.QueueDoesNotExist):
                read = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["CreatedTimestamp"])
                if time.time() - float(read["Attributes"]["CreatedTimestamp"]) < LEFTOVER_SECONDS:
                    say(f"Found {name}: its listener runs, or was killed. It is removed when it is an hour old.")
                    continue
                self.unsubscribe(name)
                yield from self.messages(url, 2)
                self.delete(name)
                say(f"Removed {name}, which is an hour old.")

    def unsubscribe(self, name):
        """Comes before `delete`, so that SNS never delivers to a queue that is no more, or that was read already."""
        for endpoint, arn in self.aws.subscriptions(self.topic):
            if endpoint == name:
                self.sns.unsubscribe(SubscriptionArn=arn)

    def delete(self, name):
        with contextlib.suppress(self.sqs.exceptions.QueueDoesNotExist):
            self.sqs.delete_queue(QueueUrl=self.sqs.get_queue_url(QueueName=name)["QueueUrl"])


def policy(queue, topic):
    """Only the topic may send to the queue."""
    statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    statement |= {"Resource": queue, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def handle(message, forward_url, folder):
    body = message["Body"]
    values = {name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()}
    say(f"\n{time.strftime('%H:%M:%S')}")
    show("published", body)
    show("", "  ".join(f"{name}={value}" for name, value in sorted(values.items())))
    if forward_url:
        show("forwarded", forwarded(forward_url, body, values))
    if folder:
        show("saved", saved(folder, body, values, int(message["Attributes"]["SentTimestamp"])))


def show(label, text):
    say(f"   {label:<12} {printable(text)}")


def forwarded(url, body, attributes):
    """Forwards an outcome. Returns the result as text."""
    headers = {f"x-pollo-{name}": value.encode() for name, value in attributes.items()}
    try:
        response = exchange(url, {"Content-Type": "application/json", **headers}, body.encode(), timeout=10)
    except Unreachable as unreachable:
        return f"not forwarded: {unreachable}"
    return f"{response}" if 200 <= response.status < 300 else f"not forwarded: {response}"


def saved(folder, body, attributes, milliseconds):
    """Saves an outcome as a sample event without a signature. Returns the result as text."""
    event = json.loads(SAMPLE.read_text())
    event["body"] = body
    event["headers"] |= {
        "content-length": f"{len(body.encode())}",
        "x-webhook-id": attributes.get("webhookId", ""),
        "x-webhook-timestamp": attributes.get("webhookTimestamp", ""),
    }
    del event["headers"]["x-webhook-signature"]
    # The time at which SNS delivered the outcome, some milliseconds after the webhook arrived.
    event["requestContext"]["time"] = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(milliseconds / 1000))
    event["requestContext"]["timeEpoch"] = milliseconds
    name = f"{attributes.get('taskId', '')[:100]}-{attributes.get('status', '')[:100]}"
    path = folder / f"{re.sub('[^A-Za-z0-9_-]', '_', name)}.json"
    try:
        with path.open("x") as file:
            file.write(json.dumps(event, indent=2, sort_keys=True) + "\n")
    except OSError as error:
        return f"not saved: {path}: {error.strerror}"
    return f"{path}"


if __name__ == "__main__":
    listen()
