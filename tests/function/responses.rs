//! The response to each kind of request, and its log line. Metric filters and alarms read the fields of the line.

use std::sync::Mutex;

use lambda_runtime::tracing;
use lambda_runtime::tracing::subscriber::fmt::MakeWriter as _;
use serde_json::json;

use crate::function::{Function, Response};
use crate::pollo::{FAILED, KEY, KEY_BYTES, NOW, SUCCEED, event, event_at, sign};
use crate::sns::Reply;

#[tokio::test]
async fn responds_200_with_the_message_id() {
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
async fn rejects_a_missing_or_unreadable_header_with_400() {
    let function = Function::start(&[Reply::Accept]).await;
    for header in ["x-webhook-id", "x-webhook-timestamp", "x-webhook-signature"] {
        for (text, problem) in [
            (None, "missing"),
            (Some(""), "missing"),
            (Some("a\tb"), "unreadable"),
            (Some("a\u{85}b"), "unreadable"),
            (Some("\u{ffff}"), "unreadable"),
        ] {
            let mut event = event(SUCCEED);
            match text {
                Some(text) => event["headers"][header] = json!(text),
                None => drop(event["headers"].as_object_mut().unwrap().remove(header)),
            }
            let response = function.receive(&event).await;
            let error = format!("header {header} is {problem}");
            assert_eq!((response.status, response.body), (400, json!({ "error": error })));
            let mut line = json!({
                "level": "WARN", "result": format!("header_{problem}"), "httpStatus": 400, "bodyBytes": SUCCEED.len(),
                "detail": error,
            });
            if header != "x-webhook-id" {
                line["webhookId"] = json!("msg_1");
            }
            assert_eq!(response.log, line);
        }
    }
    assert_eq!(function.sns.calls().len(), 0);
}

#[tokio::test]
async fn rejects_a_wrong_signature_with_401_before_any_other_check() {
    let function = Function::start(&[Reply::Accept]).await;
    let large = "x".repeat(1_200_000);
    for mut event in [
        event(SUCCEED),
        event_at("0", SUCCEED),
        event_at("yesterday", SUCCEED),
        event("not json"),
        event(""),
        event(&large),
    ] {
        event["headers"]["x-webhook-signature"] = json!(sign(KEY_BYTES, "msg_1", NOW.to_string(), FAILED.as_bytes()));
        let response = function.receive(&event).await;
        assert_eq!((response.status, response.body), (401, json!({ "error": "signature does not match" })));
        assert_eq!(
            response.log,
            json!({
                "level": "WARN", "result": "signature_mismatch", "httpStatus": 401, "webhookId": "msg_1",
                "signatures": 1, "keys": 1, "bodyBytes": event["body"].as_str().unwrap().len(),
                "detail": "none of 1 signatures matches any of 1 keys",
            })
        );
    }
    assert_eq!(function.sns.calls().len(), 0);
}

#[tokio::test]
async fn a_mismatch_says_whether_the_header_or_the_key_is_wrong() {
    let keys = format!("{KEY},{KEY}");
    let function = Function::with(&[Reply::Accept], &[("WEBHOOK_SECRET", &keys)]).await;
    let other = sign(b"another key", "msg_1", NOW.to_string(), SUCCEED.as_bytes());
    for (signature, signatures, detail) in [
        ("ab".repeat(32), 0, "no signature in the header is the Base64 of 32 bytes"),
        ("v1,".to_owned(), 0, "no signature in the header is the Base64 of 32 bytes"),
        (other.clone(), 1, "none of 1 signatures matches any of 2 keys"),
        (format!("v1,{other} v1,{other} v2,rubbish"), 2, "none of 2 signatures matches any of 2 keys"),
    ] {
        let mut event = event(SUCCEED);
        event["headers"]["x-webhook-signature"] = json!(signature);
        let Response { status, log, .. } = function.receive(&event).await;
        assert_eq!(
            (status, &log["signatures"], &log["keys"], &log["detail"]),
            (401, &json!(signatures), &json!(2), &json!(detail))
        );
    }
}

#[tokio::test]
async fn rejects_other_methods_with_405() {
    let function = Function::start(&[Reply::Accept]).await;
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post", "BREW"] {
        let mut event = event(SUCCEED);
        event["requestContext"]["http"]["method"] = json!(method);
        let response = function.receive(&event).await;
        assert_eq!((response.status, &response.body), (405, &json!({ "error": "only POST is accepted" })), "{method}");
        assert_eq!(response.headers["allow"], "POST");
        assert_eq!(response.log["result"], "method_not_allowed");
    }
    assert_eq!(function.sns.calls().len(), 0);
}

#[test]
fn logs_only_the_errors_of_libraries() {
    static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    let subscriber = tracing::Dispatch::new(pollo_webhook::log::subscriber(|| LOG.make_writer()));
    tracing::dispatcher::with_default(&subscriber, || {
        tracing::info!(target: "lambda_runtime::layers::api_response", "a payload");
        tracing::trace!(target: "pollo_webhook", "a trace");
        tracing::warn!(target: "hyper", "a warning");
        tracing::error!(target: "lambda_runtime", "an error");
    });
    let text = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    assert!(text.contains("an error") && text.lines().count() == 1, "{text}");
}
