"""A topic in SNS."""

from operate import aws


def client(topic):
    """A client of SNS, in the region of the topic with this ARN."""
    return aws.client("sns", region=topic.split(":")[3])


def subscriptions(sns, topic):
    """The topic's confirmed subscriptions: pairs of the endpoint's name and the ARN."""
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    entries = [(entry["Endpoint"], entry["SubscriptionArn"]) for page in pages for entry in page["Subscriptions"]]
    # Other subscriptions have `PendingConfirmation` or `Deleted` instead of an ARN.
    return [(endpoint.rpartition(":")[2], arn) for endpoint, arn in entries if arn.startswith("arn:")]
