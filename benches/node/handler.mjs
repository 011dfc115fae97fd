// The function in Node: verifies as Pollo's sample does and publishes with the AWS SDK. Ends with Lambda's event loop.

import { createHmac, timingSafeEqual } from "node:crypto";
import { Agent, request } from "node:http";
import { PublishCommand, SNSClient } from "@aws-sdk/client-sns";

const sns = new SNSClient();
const key = Buffer.from(process.env.WEBHOOK_SECRET, "base64");
const topic = process.env.SNS_TOPIC_ARN;

async function handler({ headers, body }) {
  const id = headers["x-webhook-id"];
  const timestamp = headers["x-webhook-timestamp"];
  const expected = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest();
  const signature = Buffer.from(headers["x-webhook-signature"], "base64");
  if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
    console.log(JSON.stringify({ level: "WARN", message: "signature does not match" }));
    return respond(401, { error: "signature does not match" });
  }

  const outcome = JSON.parse(body);
  const attribute = (value) => ({ DataType: "String", StringValue: value });
  const { MessageId } = await sns.send(
    new PublishCommand({
      TopicArn: topic,
      Message: body,
      MessageAttributes: {
        status: attribute(outcome.status),
        taskId: attribute(outcome.taskId),
        webhookId: attribute(id),
        webhookTimestamp: attribute(timestamp),
      },
    }),
  );
  console.log(JSON.stringify({ level: "INFO", messageId: MessageId }));
  return respond(200, { messageId: MessageId });
}

function respond(statusCode, body) {
  return { statusCode, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const sent = request({ host, port, agent, method, path: `/2018-06-01/runtime/invocation/${path}` }, (got) => {
      const chunks = [];
      got.on("data", (chunk) => chunks.push(chunk));
      got.on("end", () => resolve([got.headers, Buffer.concat(chunks).toString()]));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

for (;;) {
  const [headers, event] = await call("GET", "next");
  const result = await handler(JSON.parse(event));
  await call("POST", `${headers["lambda-runtime-aws-request-id"]}/response`, JSON.stringify(result));
}
