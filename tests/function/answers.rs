//! The table of answers, row by row.

use std::time::SystemTime;

use serde_json::json;

use crate::function::{Answer, Function};
use crate::pollo::{FAILED, KEY, KEY_BYTES, NOW, SUCCEED, event, event_at, sign, unsigned_event};
use crate::sns::Reply;

#[tokio::test]
async fn any_path_and_query_will_do() {
    let function = Function::start(&[Reply::Accept]).await;
    let mut event = event(SUCCEED);
    event["rawPath"] = json!("/api/pollo/webhook");
    event["rawQueryString"] = json!("a=b");
    assert_eq!(function.receive(&event).await.status, 200);
}

#[tokio::test]
async fn a_header_that_is_missing_or_that_sns_would_not_take_is_400() {
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
            let answer = function.receive(&event).await;
            let error = format!("header {header} is {problem}");
            assert_eq!((answer.status, answer.body), (400, json!({ "error": error })));
            let mut line = json!({
                "level": "WARN", "result": format!("header_{problem}"), "httpStatus": 400, "bodyBytes": SUCCEED.len(),
                "detail": error,
            });
            if header != "x-webhook-id" {
                line["webhookId"] = json!("msg_1");
            }
            assert_eq!(answer.log, line);
        }
    }
    assert_eq!(function.sns.calls().len(), 0);
}

#[tokio::test]
async fn a_signature_that_does_not_match_is_401_whatever_else_is_wrong() {
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
        let answer = function.receive(&event).await;
        assert_eq!((answer.status, answer.body), (401, json!({ "error": "signature does not match" })));
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
async fn a_mismatch_says_whether_the_header_or_the_key_is_to_blame() {
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
        let Answer { status, log, .. } = function.receive(&event).await;
        assert_eq!(
            (status, &log["signatures"], &log["keys"], &log["detail"]),
            (401, &json!(signatures), &json!(2), &json!(detail))
        );
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
    assert_eq!(function.receive(&unsigned_event("PUT", "")).await.status, 405);
    assert_eq!(function.sns.calls().len(), 0);
}

#[tokio::test]
async fn an_event_without_a_body_or_headers_is_answered_too() {
    let function = Function::start(&[Reply::Accept]).await;
    let mut event = unsigned_event("POST", "");
    event.as_object_mut().unwrap().remove("body");
    event["headers"] = json!({});
    assert_eq!(function.receive(&event).await.status, 400);
}
