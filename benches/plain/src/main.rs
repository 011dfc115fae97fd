use std::env;

use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lambda_http::{Body, Error, Request, Response, run, service_fn, tracing};
use serde_json::{Value, json};
use sha2::Sha256;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let sns = Client::new(&aws_config::load_from_env().await);
    let key = STANDARD.decode(env::var("WEBHOOK_SECRET")?)?;
    let topic = env::var("SNS_TOPIC_ARN")?;
    run(service_fn(|request| handle(request, &sns, &key, &topic))).await
}

async fn handle(request: Request, sns: &Client, key: &[u8], topic: &str) -> Result<Response<Body>, Error> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, timestamp) = (header("x-webhook-id"), header("x-webhook-timestamp"));
    let body = str::from_utf8(request.body())?;

    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = STANDARD.decode(header("x-webhook-signature")).unwrap_or_default();
    if mac.verify_slice(&signature).is_err() {
        tracing::warn!("signature does not match");
        return respond(401, json!({ "error": "signature does not match" }));
    }

    let outcome: Value = serde_json::from_str(body)?;
    let attribute = |value: &str| MessageAttributeValue::builder().data_type("String").string_value(value).build();
    let text = |name: &str| outcome[name].as_str().unwrap_or_default().to_owned();
    let published = sns
        .publish()
        .topic_arn(topic)
        .message(body)
        .message_attributes("status", attribute(&text("status"))?)
        .message_attributes("taskId", attribute(&text("taskId"))?)
        .message_attributes("webhookId", attribute(id)?)
        .message_attributes("webhookTimestamp", attribute(timestamp)?)
        .send()
        .await?;
    tracing::info!(message_id = published.message_id(), "published");
    respond(200, json!({ "messageId": published.message_id() }))
}

fn respond(status: u16, body: Value) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).header("content-type", "application/json").body(body.to_string().into())?)
}
