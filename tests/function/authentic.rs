//! No authentic outcome vanishes: whatever keeps it from the topic, the log has it whole.

use serde_json::{Value, json};

use crate::function::{Answer, Function};
use crate::pollo::{NOW, base64_event, event, event_at};
use crate::sns::Reply;

const LOST: &str = "{\"taskId\":\"cmLOST\",\"status\":\"succeed\",\r\n\
                    \"generations\":[{\"id\":\"g1\",\"url\":\"https:\\/\\/a.example\\/1.mp4\"}],\"failMsg\":\"\u{e9}\"}";

/// The largest body that a line repeats: 256 KiB.
const LOGGED: usize = 262_144;

/// An outcome of so many bytes.
fn outcome_of(bytes: usize) -> String {
    format!("{LOST}{}", " ".repeat(bytes - LOST.len()))
}

/// A correctly signed event with this timestamp, received at [`NOW`].
async fn receive(timestamp: &str, body: &str) -> Answer {
    Function::start(&[Reply::Accept]).await.receive(&event_at(timestamp, body)).await
}

/// The sender is told what is wrong, and so is the log, with these fields beside.
fn is_refused(answer: Answer, status: u16, result: &str, error: &str, fields: Value) {
    assert_eq!((answer.status, answer.body), (status, json!({ "error": error })));
    let mut line = fields;
    line["level"] = json!("WARN");
    line["result"] = json!(result);
    line["httpStatus"] = json!(status);
    line["webhookId"] = json!("msg_1");
    line["detail"] = json!(error);
    assert_eq!(answer.log, line);
}

#[tokio::test]
async fn a_late_outcome_is_401_and_logged_whole_with_its_age_rounded_away_from_the_tolerance() {
    for (timestamp, age) in [
        ("1767225200", 400_i64),
        ("1767225299999", 301),
        ("1767225900001", -301),
        ("2026-01-01T01:00:00.5Z", -3601),
        // The largest number that is read, in milliseconds.
        ("18446744073709551615", -18_446_742_306_483_952),
    ] {
        is_refused(
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
async fn an_outcome_with_an_unreadable_timestamp_is_400_and_logged_whole() {
    for timestamp in ["1795600489.431", "yesterday"] {
        is_refused(
            receive(timestamp, LOST).await,
            400,
            "timestamp_unreadable",
            "timestamp is not Unix seconds, Unix milliseconds or RFC 3339",
            json!({ "webhookTimestamp": timestamp, "taskId": "cmLOST", "status": "succeed", "body": LOST }),
        );
    }
}

#[tokio::test]
async fn what_is_not_an_outcome_is_422_and_logged_whole_with_what_can_be_read_of_it() {
    const NO_TASK_ID: &str = "taskId is not a string of 1 to 256 bytes without control characters";
    const UNKNOWN_STATUS: &str = "status is neither succeed nor failed";
    const REPEATED_KEY: &str = "body repeats a key";
    const NOT_AN_OBJECT: &str = "body is not a JSON object";
    for (body, mut fields, why) in [
        (r#"{"taskId":"t1","status":"cancelled"}"#, json!({ "taskId": "t1", "status": "cancelled" }), UNKNOWN_STATUS),
        (r#"{"taskId":"t1","status":["failed"]}"#, json!({ "taskId": "t1" }), UNKNOWN_STATUS),
        (r#"{"status":"failed"}"#, json!({ "status": "failed" }), NO_TASK_ID),
        (r#"{"taskId":7,"status":"failed"}"#, json!({ "status": "failed" }), NO_TASK_ID),
        (r#"{"taskId":"a\nb","status":"a\tb"}"#, json!({}), NO_TASK_ID),
        (
            r#"{"taskId":"t1","status":"succeed","a":1,"a":2}"#,
            json!({ "taskId": "t1", "status": "succeed" }),
            REPEATED_KEY,
        ),
        // Which of the two counts would be for each reader to guess.
        (
            r#"{"taskId":"t1","taskId":"t2","taskId":"t3","status":"failed"}"#,
            json!({ "status": "failed" }),
            REPEATED_KEY,
        ),
        (r#"{"taskId":"t1","status":"failed","status":"succeed"}"#, json!({ "taskId": "t1" }), REPEATED_KEY),
        (r#"{"taskId":"t1","status":"failed"}{}"#, json!({}), NOT_AN_OBJECT),
        ("", json!({}), NOT_AN_OBJECT),
    ] {
        let timestamp = NOW.to_string();
        fields["webhookTimestamp"] = json!(timestamp);
        fields["body"] = json!(body);
        let error = format!("not a task outcome: {why}");
        is_refused(receive(&timestamp, body).await, 422, "not_an_outcome", &error, fields);
    }
}

#[tokio::test]
async fn a_body_that_is_not_text_is_logged_as_base64() {
    let function = Function::start(&[Reply::Accept]).await;
    for (body, base64) in [(&b"{\"taskId\":\"\xe9\"}"[..], "eyJ0YXNrSWQiOiLpIn0="), (b"\0\x1b", "ABs=")] {
        let log = function.receive(&base64_event(body)).await.log;
        assert_eq!((&log["result"], &log["bodyBase64"]), (&json!("not_an_outcome"), &json!(base64)));
        assert_eq!(log["body"], Value::Null);
    }
}

#[tokio::test]
async fn a_body_of_more_than_256_kib_is_counted_and_not_logged() {
    let refusing = Function::start(&[Reply::Http(403, "")]).await;
    let now = NOW.to_string();
    for (result, timestamp, end) in [
        ("not_published", &*now, ""),
        ("timestamp_outside_tolerance", "0", ""),
        ("timestamp_unreadable", "soon", ""),
        ("not_an_outcome", &now, "}"),
    ] {
        let (largest, larger) = (outcome_of(LOGGED - end.len()) + end, outcome_of(LOGGED + 1 - end.len()) + end);
        let log = refusing.receive(&event_at(timestamp, &largest)).await.log;
        assert_eq!((&log["result"], &log["body"], &log["bodyBytes"]), (&json!(result), &json!(largest), &Value::Null));
        let log = refusing.receive(&event_at(timestamp, &larger)).await.log;
        assert_eq!((&log["result"], &log["bodyBytes"]), (&json!(result), &json!(LOGGED + 1)));
        assert_eq!((&log["body"], &log["bodyBase64"]), (&Value::Null, &Value::Null));
        if end.is_empty() {
            assert_eq!((&log["taskId"], &log["status"]), (&json!("cmLOST"), &json!("succeed")));
        }
    }
}

#[tokio::test]
async fn no_line_exceeds_what_cloudwatch_takes() {
    let function = Function::start(&[Reply::Accept]).await;
    for byte in [b'"', b'\\', b'\n', b'\0', 0x1f, 0x7f, 0xff] {
        let line = function.receive(&base64_event(&[byte; LOGGED])).await.log.to_string();
        assert!(line.len() < 1_000_000, "{byte}: {} bytes", line.len());
        assert!(line.len() > LOGGED, "{byte}: the body is not in the line");
    }
}

#[tokio::test]
async fn a_body_may_fill_what_its_attributes_leave_and_with_a_byte_more_it_is_413_with_its_task() {
    let attributes = ["status", "succeed", "taskId", "cmLOST", "webhookId", "msg_1", "webhookTimestamp", "1767225600"];
    let most = 1_048_576 - attributes.concat().len() - 4 * "String".len();
    let function = Function::start(&[Reply::Accept]).await;
    let body = outcome_of(most);
    assert_eq!(function.receive(&event(&body)).await.status, 200);
    is_refused(
        function.receive(&event(&outcome_of(most + 1))).await,
        413,
        "too_large",
        "message is larger than SNS can take: 1048576 bytes with its attributes",
        json!({
            "webhookTimestamp": "1767225600", "taskId": "cmLOST", "status": "succeed", "bodyBytes": most + 1,
        }),
    );
    let calls = function.sns.calls();
    assert_eq!((calls.len(), calls[0].field("Message")), (1, Some(&*body)));
}
