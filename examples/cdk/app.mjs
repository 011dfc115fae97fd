// Deploys the function of an unpacked release, without the alarms, metrics and topic policy of template.yaml.
import { App, CfnOutput, Duration, SecretValue, Stack } from "aws-cdk-lib";
import { aws_kms as kms, aws_lambda as lambda, aws_sns as sns } from "aws-cdk-lib";

const stack = new Stack(new App(), "pollo-webhook-cdk");
const topic = new sns.Topic(stack, "Topic", {
  masterKey: kms.Alias.fromAliasName(stack, "SnsKey", "alias/aws/sns"),
});
const receiver = new lambda.Function(stack, "Function", {
  runtime: lambda.Runtime.PROVIDED_AL2023,
  architecture: lambda.Architecture.X86_64,
  handler: "bootstrap",
  code: lambda.Code.fromAsset(`${import.meta.dirname}/../../bootstrap.zip`),
  memorySize: 256,
  timeout: Duration.seconds(15),
  // The URL is public, so this limits what a flood of requests can cost.
  reservedConcurrentExecutions: 10,
  loggingFormat: lambda.LoggingFormat.JSON,
  systemLogLevelV2: lambda.SystemLogLevel.WARN,
  environment: {
    WEBHOOK_SECRET: SecretValue.secretsManager("pollo-webhook-key").unsafeUnwrap(),
    SNS_TOPIC_ARN: topic.topicArn,
  },
});
topic.grantPublish(receiver);
// Adds both permissions of a public URL: lambda:InvokeFunctionUrl, and lambda:InvokeFunction only through the URL.
const { url } = receiver.addFunctionUrl({ authType: lambda.FunctionUrlAuthType.NONE });
new CfnOutput(stack, "WebhookUrl", { value: url });
