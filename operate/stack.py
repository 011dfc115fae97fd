"""A deployed stack, as its outputs describe it."""

from dataclasses import dataclass

from botocore.exceptions import ClientError

from operate import aws
from operate.terminal import Failure


@dataclass(frozen=True)
class Stack:
    webhook_url: str
    topic_arn: str
    function_name: str
    log_group: str


OUTPUTS = {
    "WebhookUrl": "webhook_url",
    "TopicArn": "topic_arn",
    "FunctionName": "function_name",
    "LogGroupName": "log_group",
}


def read_stack(name):
    """The stack of this name, in the region that boto3 finds."""
    cloudformation = aws.client("cloudformation")
    try:
        [described] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        region = cloudformation.meta.region_name
        raise Failure(f"There is no stack {name} in {region}; AWS_DEFAULT_REGION sets another region.") from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    missing = [name for name in OUTPUTS if name not in outputs]
    if missing:
        raise Failure(
            f"The stack {name} ({described['StackStatus']}) has no output {', '.join(missing)}: "
            "it is not a deployed pollo-webhook."
        )
    return Stack(**{attribute: outputs[output] for output, attribute in OUTPUTS.items()})
