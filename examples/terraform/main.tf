# Deploys the template of an unpacked release, with its roles, permissions and alarms.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "bucket" {
  description = "A bucket for the function, in the region of the stack."
  type        = string
}

locals {
  release = "${path.module}/../.."
}

resource "aws_s3_object" "function" {
  bucket = var.bucket
  key    = "pollo-webhook/${filesha256("${local.release}/bootstrap.zip")}.zip"
  source = "${local.release}/bootstrap.zip"

  # CloudFormation needs the previous archive for a rollback.
  lifecycle { create_before_destroy = true }
}

resource "aws_cloudformation_stack" "pollo_webhook" {
  name         = "pollo-webhook"
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
  template_body = replace(
    file("${local.release}/template.yaml"),
    "CodeUri: bootstrap.zip",
    "CodeUri: s3://${aws_s3_object.function.bucket}/${aws_s3_object.function.key}",
  )

  # The key is in Secrets Manager, to keep it out of Terraform's state.
  parameters = {
    WebhookSecretName = "pollo-webhook-key"
  }
}

output "webhook_url" {
  value = aws_cloudformation_stack.pollo_webhook.outputs["WebhookUrl"]
}
