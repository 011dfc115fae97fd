//! No authentic outcome is lost: if it is not published, the log contains all of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::function::{Function, Response};
use crate::pollo::{NOW, base64_event, event, event_at, sha256, signed_event};
use crate::sns::Reply;

const LOST: &str = "{\"taskId\":\"cmLOST\",\"status\":\"succeed\",\r\n\
                    \"generations\":[{\"id\":\"g1\",\"url\":\"https:\\/\\/a.example\\/1.mp4\"}],\"failMsg\":\"\u{e9}\"}";

/// The largest body that is logged, in bytes.
const LOGGED: usize = 30_000;

/// An outcome of this size.
fn outcome_of(bytes: usize) -> String {
    padded(LOST, bytes)
}

fn padded(body: &str, bytes: usize) -> String {
    format!("{body}{}", " ".repeat(bytes - body.len()))
}

/// A correctly signed event with this timestamp, received at [`NOW`].
async fn receive(timestamp: &str, body: &str) -> Response {
    Function::start(&[Reply::Accept]).await.receive(&event_at(timestamp, body)).await
}

/// The response and the log line name the error. The log line also has these fields.
fn is_rejected(response: Response, status: u16, result: &str, error: &str, fields: Value) {
    assert_eq!((response.status, response.body), (status, json!({ "error": error })));
    let mut line = fields;
    line["level"] = json!("ERROR");
    line["result"] = json!(result);
    line["httpStatus"] = json!(status);
    line["webhookId"] = json!("msg_1");
    line["detail"] = json!(error);
    if let Some(body) = line.get("body") {
        line["bodySha256"] = json!(sha256(body.as_str().unwrap().as_bytes()));
    }
    assert_eq!(response.log, line);
}

#[tokio::test]
async fn rejects_a_late_outcome_with_401_and_logs_it_with_its_age() {
    // Fractions of a second are rounded away from zero.
    for (timestamp, age) in [("1767225200", 400), ("2026-01-01T01:00:00.5Z", -3_601)] {
        is_rejected(
            receive(timestamp, LOST).await,
            401,
            "timestamp_outside_tolerance",
            "timestamp is outside the tolerance",
            json!({
                "webhookTimestamp": timestamp, "ageSeconds": age, "taskId": "cmLOST", "status": "succeed", "body": LOST,
            }),
        );
    }
}

#[tokio::test]
async fn rejects_an_unreadable_timestamp_with_400_and_logs_the_outcome() {
    is_rejected(
        receive("yesterday", LOST).await,
        400,
        "timestamp_unreadable",
        "timestamp is not Unix seconds, Unix milliseconds or RFC 3339",
        json!({ "webhookTimestamp": "yesterday", "taskId": "cmLOST", "status": "succeed", "body": LOST }),
    );
}

#[tokio::test]
async fn rejects_a_body_that_is_not_an_outcome_with_422_and_logs_it() {
    const NO_TASK_ID: &str = "taskId is not a string of 1 to 256 bytes without control characters";
    const UNKNOWN_STATUS: &str = "status is neither succeed nor failed";
    const REPEATED_KEY: &str = "body repeats a key";
    const NOT_AN_OBJECT: &str = "body is not a JSON object";
    for (body, mut fields, why) in [
        (r#"{"taskId":"t1","status":"cancelled"}"#, json!({ "taskId": "t1", "status": "cancelled" }), UNKNOWN_STATUS),
        (r#"{"taskId":"t1","status":["failed"]}"#, json!({ "taskId": "t1" }), UNKNOWN_STATUS),
        (r#"{"status":"failed"}"#, json!({ "status": "failed" }), NO_TASK_ID),
        (r#"{"taskId":"a\nb","status":"a\tb"}"#, json!({}), NO_TASK_ID),
        (r#"{"taskId":"t1","status":"failed","":1,"":2}"#, json!({ "taskId": "t1", "status": "failed" }), REPEATED_KEY),
        // JSON parsers differ in which of two equal keys they use.
        (r#"{"taskId":"1","taskId":"2","taskId":"3","status":"failed"}"#, json!({ "status": "failed" }), REPEATED_KEY),
        (r#"{"taskId":"t1","status":"failed","status":"succeed"}"#, json!({ "taskId": "t1" }), REPEATED_KEY),
        (r#"{"taskId":"t1","status":"failed"}{}"#, json!({}), NOT_AN_OBJECT),
        ("\t\r\n\u{a0}\u{fffd}\u{1f3ac}", json!({}), NOT_AN_OBJECT),
        ("", json!({}), NOT_AN_OBJECT),
    ] {
        let timestamp = NOW.to_string();
        fields["webhookTimestamp"] = json!(timestamp);
        fields["body"] = json!(body);
        let error = format!("not a task outcome: {why}");
        is_rejected(receive(&timestamp, body).await, 422, "not_an_outcome", &error, fields);
    }
}

/// Such characters can change what a terminal shows. SQS rejects U+FFFE and U+FFFF.
#[tokio::test]
async fn logs_a_body_that_is_not_plain_text_as_base64() {
    let function = Function::start(&[Reply::Http(403, "")]).await;
    let outcome = |text| LOST.replace("g1", text).into_bytes();
    for (body, status) in [
        (b"{\"taskId\":\"\xe9\"}".to_vec(), 422),
        (b"\x1b".to_vec(), 422),
        (outcome("\u{7f}"), 503),
        (outcome("\u{80}"), 503),
        (outcome("\u{9f}"), 503),
        (outcome("\u{fffe}"), 422),
        (outcome("\u{ffff}"), 422),
    ] {
        let Response { status: responded, log, .. } = function.receive(&base64_event("1767225600", &body)).await;
        assert_eq!((responded, &log["bodyBase64"]), (status, &json!(STANDARD.encode(&body))));
        assert_eq!((&log["body"], &log["bodySha256"]), (&Value::Null, &json!(sha256(&body))));
    }
}

#[tokio::test]
async fn logs_only_the_length_of_a_body_over_30_000_bytes() {
    let function = Function::start(&[Reply::Http(403, "")]).await;
    let now = NOW.to_string();
    let outcome = outcome_of(LOGGED + 1);
    let other = outcome.replace("succeed", "success");
    for (result, timestamp, body) in [
        ("not_published", &*now, &outcome),
        ("timestamp_outside_tolerance", "0", &outcome),
        ("timestamp_unreadable", "soon", &outcome),
        ("not_an_outcome", &now, &other),
    ] {
        let log = function.receive(&event_at(timestamp, body)).await.log;
        assert_eq!((&log["result"], &log["bodyBytes"]), (&json!(result), &json!(LOGGED + 1)));
        assert_eq!([&log["body"], &log["bodyBase64"], &log["bodySha256"]], [&Value::Null; 3]);
        assert!(log["taskId"] == "cmLOST" && log["status"].is_string(), "{log}");
    }
}

/// `Function::receive` checks the length of the line. Here, each field has its greatest length at once. JSON escapes a
/// quotation mark as two bytes, and a control character as six.
#[tokio::test]
async fn the_longest_line_has_the_whole_body() {
    let wide = "\"\u{1f3ac}".repeat(1_000);
    let escapes = "&#27;".repeat(2_000).leak();
    let failure = Reply::Error(403, escapes, escapes);
    let function = Function::with(&[failure], &[("WEBHOOK_TOLERANCE_SECONDS", "0")]).await;
    let start = json!({ "taskId": "\"".repeat(256), "status": "failed" }).to_string().replace('}', ",\"a\":\"");
    let rest = LOGGED - start.len() - 2;
    for (quotes, is_text) in [(0, true), (9_600, true), (9_900, false), (14_600, false)] {
        let text = r#"\""#.repeat(quotes) + &"\u{e9}".repeat(rest / 2 - quotes);
        let body = padded(&format!("{start}{text}\"}}"), LOGGED);
        let log = function.receive(&signed_event(&wide, &wide, body.as_bytes())).await.log;
        assert_eq!((&log["code"], &log["detail"]), (&json!("\u{1b}".repeat(128)), &json!("\u{1b}".repeat(1_000))));
        let short = json!(wide.chars().take(128).collect::<String>());
        assert_eq!((&log["webhookId"], &log["webhookTimestamp"]), (&short, &short));
        let base64 = json!(STANDARD.encode(&body));
        let (field, logged) = if is_text { ("body", json!(body)) } else { ("bodyBase64", base64) };
        assert_eq!(log[field], logged, "{quotes} quotation marks");
    }
}

#[tokio::test]
async fn rejects_a_message_over_the_sns_limit_with_413() {
    let attributes = ["status", "succeed", "taskId", "cmLOST", "webhookId", "msg_1", "webhookTimestamp", "1767225600"];
    let most = 1_048_576 - attributes.concat().len() - 4 * "String".len();
    let function = Function::start(&[Reply::Accept]).await;
    let body = outcome_of(most);
    assert_eq!(function.receive(&event(&body)).await.status, 200);
    // On a busy machine, this large message can take a second attempt.
    let calls = function.sns.calls();
    assert!(calls.iter().all(|call| call.field("Message") == Some(&*body)));
    is_rejected(
        function.receive(&event(&outcome_of(most + 1))).await,
        413,
        "too_large",
        "message is larger than SNS can take: 1048576 bytes with its attributes",
        json!({
            "webhookTimestamp": "1767225600", "taskId": "cmLOST", "status": "succeed", "bodyBytes": most + 1,
        }),
    );
    assert_eq!(function.sns.calls().len(), calls.len());
}
