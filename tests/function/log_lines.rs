//! The line that each request leaves in the log. Metric filters and alarms read it: its fields are a contract.

use lambda_runtime::tracing;
use serde_json::json;

use crate::function::{Function, Log};
use crate::pollo::{SUCCEED, event};
use crate::sns::Reply;

#[tokio::test]
async fn of_a_published_outcome() {
    let function = Function::start(&[Reply::Accept]).await;
    let mut answer = function.receive(&event(SUCCEED)).await;
    assert!(answer.log.as_object_mut().unwrap().remove("snsMilliseconds").unwrap().is_u64());
    assert_eq!(
        answer.log,
        json!({
            "level": "INFO", "result": "published", "httpStatus": 200, "webhookId": "msg_1",
            "taskId": "cm9ap1d4e0001", "status": "succeed", "messageId": "message-1",
        })
    );
    assert_eq!((answer.status, answer.body), (200, json!({ "messageId": "message-1" })));
}

#[tokio::test]
async fn repeats_no_more_than_128_characters_of_an_id() {
    let function = Function::start(&[Reply::Accept]).await;
    for (sent, logged) in [("é".repeat(128), "é".repeat(128)), ("é".repeat(1_000), "é".repeat(128))] {
        let mut event = event(SUCCEED);
        event["headers"]["x-webhook-id"] = json!(sent);
        assert_eq!(function.receive(&event).await.log["webhookId"], json!(logged));
    }
}

#[test]
fn leaves_out_what_libraries_say_of_events() {
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
