//! The log line of each request. Metric filters and alarms read its fields, so they must not change.

use lambda_runtime::tracing;
use serde_json::json;

use crate::function::{Function, Log};
use crate::pollo::{SUCCEED, event};
use crate::sns::Reply;

#[tokio::test]
async fn logs_a_published_outcome_with_its_message_id() {
    let function = Function::start(&[Reply::Accept]).await;
    let mut response = function.receive(&event(SUCCEED)).await;
    assert!(response.log.as_object_mut().unwrap().remove("snsMilliseconds").unwrap().is_u64());
    assert_eq!(
        response.log,
        json!({
            "level": "INFO", "result": "published", "httpStatus": 200, "webhookId": "msg_1",
            "taskId": "cm9ap1d4e0001", "status": "succeed", "webhookTimestamp": "1767225600",
            "messageId": "message-1",
        })
    );
    assert_eq!((response.status, response.body), (200, json!({ "messageId": "message-1" })));
}

#[tokio::test]
async fn truncates_an_id_to_128_characters() {
    let function = Function::start(&[Reply::Accept]).await;
    for (sent, logged) in [("é".repeat(128), "é".repeat(128)), ("é".repeat(1_000), "é".repeat(128))] {
        let mut event = event(SUCCEED);
        event["headers"]["x-webhook-id"] = json!(sent);
        assert_eq!(function.receive(&event).await.log["webhookId"], json!(logged));
    }
}

#[test]
fn logs_only_the_errors_of_libraries() {
    let log = Log::default();
    let subscriber = tracing::Dispatch::new(pollo_webhook::log::subscriber(log.clone()));
    tracing::dispatcher::with_default(&subscriber, || {
        tracing::info!(target: "lambda_runtime::layers::api_response", "a payload");
        tracing::trace!(target: "pollo_webhook", "a trace");
        tracing::warn!(target: "hyper", "a warning");
        tracing::error!(target: "lambda_runtime", "an error");
    });
    let text = log.text();
    assert!(text.contains("an error") && text.lines().count() == 1, "{text}");
}
