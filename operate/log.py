"""Reads the log of a deployed function."""

import time

from botocore.exceptions import ClientError

from operate import aws
from operate.terminal import Failure

# Longest time for reading, in seconds. CloudWatch reads about 10 MB per second.
READING_SECONDS = 300


def read_log(group, start, pattern=""):
    """The lines from `start` (Unix seconds) until now that match `pattern`: pairs of Unix milliseconds and text."""
    deadline = time.monotonic() + READING_SECONDS
    pages = (
        aws.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=group,
            startTime=max(0, int(start * 1000)),
            endTime=int(time.time() * 1000),
            filterPattern=pattern,
        )
    )
    try:
        for page in pages:
            yield from ((event["timestamp"], event["message"]) for event in page["events"])
            if time.monotonic() > deadline:
                raise Failure(f"Reading {group} takes longer than {READING_SECONDS} seconds: set a shorter SINCE.")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise Failure(f"There is no log group {group}.") from None
