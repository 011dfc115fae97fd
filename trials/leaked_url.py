"""What somebody who knows the URL, and has neither a key nor a captured webhook, can make it cost in an hour: `make
leaked-url`.

The template's defaults cap it, prices are those of docs/operations.md, and what a refusal leaves in the log is measured.
"""

import json

from local import emulators
from local.emulators import CHECKOUT, Broken

# Requests a second that Lambda lets through for each that may run at once.
REQUESTS_PER_SECOND = 10
# Lambda's own lines of a request, and what CloudWatch counts for each event: an assumption, on the high side.
PLATFORM_BYTES = 1_100
# An answer with the headers that Lambda adds, on the high side.
ANSWER_BYTES = 1_000

PER_REQUEST = 0.20 / 1e6
PER_GB_SECOND = 0.0000166667
PER_LOGGED_GB = 0.50
PER_TRACE = 5.00 / 1e6
PER_SENT_GB = 0.09


def longest_line(function):
    """Bytes of the longest line that a request without a signature of Pollo's leaves."""
    forged = json.loads((CHECKOUT / "events/wrong-signature.json").read_text())
    requests = []
    for headers in [{}, {"x-webhook-signature": ""}, {"x-webhook-timestamp": "\ufffe"}]:
        # An id is repeated up to 128 characters: as many as have four bytes.
        event = {**forged, "headers": {**forged["headers"], "x-webhook-id": "\U0001f3ac" * 200, **headers}}
        requests.append(event)
    large = {**forged, "body": "x" * 300_000, "headers": requests[0]["headers"]}
    lines = []
    for event in [*requests, large]:
        function.invoke(json.dumps(event))
        line = function.log()
        if json.loads(line)["result"] not in ["signature_mismatch", "header_missing", "header_unreadable", "too_large"]:
            raise Broken(f"This was to be refused: {line}")
        lines.append(len(line.encode()))
    return max(lines)


def main():
    template = emulators.template()
    at_once = int(template["Parameters"]["ReservedConcurrency"]["Default"])
    gigabytes = template["Resources"]["Function"]["Properties"]["MemorySize"] / 1024
    with emulators.sns() as sns, emulators.function(emulators.build(), sns) as function:
        line = longest_line(function)
    requests = at_once * REQUESTS_PER_SECOND * 3600
    logged = requests * (line + PLATFORM_BYTES) / 1e9
    costs = [
        (f"{requests:,} requests to Lambda, {at_once * REQUESTS_PER_SECOND} a second", requests * PER_REQUEST),
        (f"{at_once} at once all the hour, of {gigabytes} GB", at_once * 3600 * gigabytes * PER_GB_SECOND),
        (f"{logged:.2f} GB of log, at most {line} bytes a refusal and Lambda's own lines", logged * PER_LOGGED_GB),
        ("answers sent out", requests * ANSWER_BYTES / 1e9 * PER_SENT_GB),
    ]
    print("| in an hour | at most |\n|---|---|")
    for what, dollars in costs:
        print(f"| {what} | ${dollars:.2f} |")
    total = sum(dollars for _, dollars in costs)
    traced = total + requests * PER_TRACE
    print(
        f"| **all of it** | **${total:.2f}**, or ${traced:.2f} with `Tracing=Active` if the sender asks for a trace of each |"
    )


if __name__ == "__main__":
    emulators.run(main)
