"""AWS's API: clients with timeouts, and errors as sentences."""

import sys

try:
    import boto3
except ImportError:
    sys.exit("boto3 is missing: run this through make, which installs it")

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})

# All errors that a call can raise.
ERRORS = BotoCoreError, ClientError

NO_CREDENTIALS = NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound, SSOError
REJECTED_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}


def client(service, region=None):
    """A client of `service`, with the region and the credentials that boto3 finds."""
    return boto3.client(service, region_name=region, config=CONFIG)


def sentence(error):
    """A sentence that describes `error` to the user."""
    if isinstance(error, NoRegionError):
        return "No AWS region is set: set AWS_DEFAULT_REGION, or a region in your AWS profile."
    if isinstance(error, NO_CREDENTIALS):
        return f"There are no usable AWS credentials: {error}"
    if isinstance(error, ConnectionError | HTTPClientError):
        return f"AWS cannot be reached: {error}"
    if isinstance(error, ClientError):
        code, message = [error.response.get("Error", {}).get(name, "") for name in ["Code", "Message"]]
        if code in REJECTED_CREDENTIALS:
            return f"AWS rejects the credentials ({code}): {message}"
        if code.startswith("AccessDenied") or code == "AuthorizationError":
            return f"The AWS credentials lack a permission for {error.operation_name}: {message}"
    return f"AWS reports an error: {error}"
