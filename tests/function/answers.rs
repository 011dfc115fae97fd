//! The table of answers, row by row.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::function::Function;
use crate::pollo::{FAILED, KEY, NOW, SUCCEED, base64_event, event, event_at, sign, unsigned_event};
use crate::sns::Reply;

/// With its attributes.
const SNS_TAKES: usize = 1_048_576;

/// A body with this `taskId` and so many bytes.
fn body_of(bytes: usize) -> String {
    let short = r#"{"taskId":"t1","status":"failed","a":""}"#;
    short.replace(r#""a":"""#, &format!(r#""a":"{}""#, "x".repeat(bytes - short.len())))
}

/// What SNS counts beside the body of an event with the body above.
fn attribute_bytes() -> usize {
    ["status", "failed", "taskId", "t1", "webhookId", "msg_1", "webhookTimestamp", "1767225600"].concat().len()
        + 4 * "String".len()
}

#[tokio::test]
async fn published_is_200_with_the_message_id() {
    let function = Function::start(&[Reply::Accept]).await;
    for (body, status, number) in [(SUCCEED, "succeed", 1), (FAILED, "failed", 2)] {
        let answer = function.receive(&event(body)).await;
        assert_eq!((answer.status, answer.body), (200, json!({ "messageId": format!("message-{number}") })));
        assert_eq!(function.sns.calls().len(), number);
        assert_eq!(function.sns.calls()[number - 1].field("MessageAttributes.entry.1.Value.DataType"), Some("String"));
        assert_eq!(answer.log["status"], status);
    }
}

#[tokio::test]
async fn a_base64_body_and_a_text_body_are_the_same_bytes() {
    let function = Function::start(&[Reply::Accept]).await;
    let body = "{\"taskId\":\"t1\",\r\n \"status\":\"succeed\", \"a\":\"é動画🎬\\u0000\"}";
    assert_eq!(function.receive(&event(body)).await.status, 200);
    assert_eq!(function.receive(&base64_event(body.as_bytes())).await.status, 200);
    for call in function.sns.calls() {
        assert_eq!(call.field("Message"), Some(body));
    }
}

#[tokio::test]
async fn any_path_and_query_will_do() {
    let function = Function::start(&[Reply::Accept]).await;
    let mut event = event(SUCCEED);
    event["rawPath"] = json!("/api/pollo/webhook");
    event["rawQueryString"] = json!("a=b");
    assert_eq!(function.receive(&event).await.status, 200);
}

#[tokio::test]
async fn a_missing_or_empty_header_is_400() {
    let function = Function::start(&[Reply::Accept]).await;
    for header in ["x-webhook-id", "x-webhook-timestamp", "x-webhook-signature"] {
        let error = json!({ "error": format!("header {header} is missing") });
        let mut missing = event(SUCCEED);
        missing["headers"].as_object_mut().unwrap().remove(header);
        let mut empty = event(SUCCEED);
        empty["headers"][header] = json!("");
        for event in [missing, empty] {
            let answer = function.receive(&event).await;
            assert_eq!((answer.status, &answer.body), (400, &error));
            assert_eq!(answer.log["result"], "header_missing");
        }
    }
    assert_eq!(function.sns.calls().len(), 0);
}

#[tokio::test]
async fn a_header_that_sns_would_not_take_is_400() {
    let function = Function::start(&[Reply::Accept]).await;
    for header in ["x-webhook-id", "x-webhook-timestamp", "x-webhook-signature"] {
        for text in ["a\tb", "a\u{85}b", "\u{ffff}"] {
            let mut event = event(SUCCEED);
            event["headers"][header] = json!(text);
            let answer = function.receive(&event).await;
            assert_eq!(answer.body, json!({ "error": format!("header {header} is unreadable") }));
            assert_eq!((answer.status, &answer.log["result"]), (400, &json!("header_unreadable")));
        }
    }
    assert_eq!(function.sns.calls().len(), 0);
}

#[tokio::test]
async fn a_signature_that_does_not_match_is_401_whatever_else_is_wrong() {
    let function = Function::start(&[Reply::Accept]).await;
    let mut forged =
        vec![event(SUCCEED), event_at("0", SUCCEED), event_at("yesterday", SUCCEED), event("not json"), event("")];
    for event in &mut forged {
        event["headers"]["x-webhook-signature"] =
            json!(sign(b"another key", "msg_1", NOW.to_string(), b"another body"));
    }
    let mut tampered = event(SUCCEED);
    tampered["body"] = json!(FAILED);
    forged.push(tampered);
    for event in &forged {
        let answer = function.receive(event).await;
        assert_eq!((answer.status, &answer.body), (401, &json!({ "error": "signature does not match" })));
        assert_eq!(
            answer.log,
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
async fn a_timestamp_at_the_edge_of_the_tolerance_is_200() {
    let function = Function::start(&[Reply::Accept]).await;
    for timestamp in [NOW - 300, NOW + 300] {
        assert_eq!(function.receive(&event_at(&timestamp.to_string(), SUCCEED)).await.status, 200);
    }
}

#[tokio::test]
async fn the_time_is_that_of_the_clock() {
    let function = Function::start(&[Reply::Accept]).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(function.receive_now(&event_at(&now.to_string(), SUCCEED)).await, 200);
    assert_eq!(function.receive_now(&event_at(&NOW.to_string(), SUCCEED)).await, 401);
}

#[tokio::test]
async fn the_tolerance_can_be_set_and_switched_off() {
    let function = Function::with(&[Reply::Accept], &[("WEBHOOK_TOLERANCE_SECONDS", "10")]).await;
    assert_eq!(function.receive(&event_at(&(NOW - 11).to_string(), SUCCEED)).await.status, 401);
    assert_eq!(function.receive(&event_at(&(NOW - 10).to_string(), SUCCEED)).await.status, 200);
    let function = Function::with(&[Reply::Accept], &[("WEBHOOK_TOLERANCE_SECONDS", "0")]).await;
    assert_eq!(function.receive(&event_at("yesterday", SUCCEED)).await.status, 200);
}

#[tokio::test]
async fn any_of_several_keys_will_do() {
    let keys = format!("{},{KEY}", STANDARD.encode(b"another key of Pollo's"));
    let function = Function::with(&[Reply::Accept], &[("WEBHOOK_SECRET", &keys)]).await;
    assert_eq!(function.receive(&event(SUCCEED)).await.status, 200);
    let mut old = event(SUCCEED);
    old["headers"]["x-webhook-signature"] =
        json!(sign(b"another key of Pollo's", "msg_1", NOW.to_string(), SUCCEED.as_bytes()));
    assert_eq!(function.receive(&old).await.status, 200);
}

#[tokio::test]
async fn another_method_is_405() {
    let function = Function::start(&[Reply::Accept]).await;
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post", "BREW"] {
        let mut event = event(SUCCEED);
        event["requestContext"]["http"]["method"] = json!(method);
        let answer = function.receive(&event).await;
        assert_eq!((answer.status, &answer.body), (405, &json!({ "error": "only POST is accepted" })), "{method}");
        assert_eq!(answer.headers["allow"], "POST");
        assert_eq!(answer.log["result"], "method_not_allowed");
    }
    assert_eq!(function.receive(&unsigned_event("PUT", &"x".repeat(SNS_TAKES + 1))).await.status, 405);
    assert_eq!(function.sns.calls().len(), 0);
}

#[tokio::test]
async fn a_body_may_fill_what_its_attributes_leave_and_not_a_byte_more() {
    let function = Function::start(&[Reply::Accept]).await;
    let fits = SNS_TAKES - attribute_bytes();
    assert_eq!(function.receive(&event(&body_of(fits))).await.status, 200);
    let answer = function.receive(&event(&body_of(fits + 1))).await;
    assert_eq!((answer.status, &answer.log["bodyBytes"]), (413, &json!(fits + 1)));
    assert_eq!(function.sns.calls().len(), 1);
}

#[tokio::test]
async fn not_published_is_503_with_retry_after() {
    let function = Function::start(&[Reply::Http(403, AUTHORIZATION_ERROR)]).await;
    let answer = function.receive(&event(SUCCEED)).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, json!({ "error": "the outcome could not be published, send it again" }));
    assert_eq!(answer.headers["retry-after"], "30");
    assert_eq!(answer.log["result"], "not_published");
}

const AUTHORIZATION_ERROR: &str = "<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>not \
                                   authorized to perform SNS:Publish</Message></Error></ErrorResponse>";

#[tokio::test]
async fn an_event_without_a_body_or_headers_is_answered_too() {
    let function = Function::start(&[Reply::Accept]).await;
    let mut event = unsigned_event("POST", "");
    event.as_object_mut().unwrap().remove("body");
    event["headers"] = json!({});
    assert_eq!(function.receive(&event).await.status, 400);
}
