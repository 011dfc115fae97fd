//! No authentic outcome vanishes: whatever keeps it from the topic, the log has it whole.

use serde_json::{Value, json};

use crate::function::{Answer, Function};
use crate::pollo::{NOW, SUCCEED, base64_event, event, event_at, sign};
use crate::sns::Reply;

const LOST: &str = "{\"taskId\":\"cmLOST\",\"status\":\"succeed\",\r\n\
                    \"generations\":[{\"id\":\"g1\",\"url\":\"https:\\/\\/a.example\\/1.mp4\"}],\"failMsg\":\"\u{e9}\"}";

const NO_TASK_ID: &str = "taskId is not a string of 1 to 256 bytes without control characters";

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

#[tokio::test]
async fn a_late_outcome_is_401_and_logged_whole() {
    for (seconds_ago, age) in [(400, 400), (-301, -301)] {
        let timestamp = (NOW as i64 - seconds_ago).to_string();
        let answer = receive(&timestamp, LOST).await;
        assert_eq!((answer.status, answer.body), (401, json!({ "error": "timestamp is outside the tolerance" })));
        assert_eq!(
            answer.log,
            json!({
                "level": "WARN", "result": "timestamp_outside_tolerance", "httpStatus": 401, "webhookId": "msg_1",
                "webhookTimestamp": timestamp, "ageSeconds": age, "taskId": "cmLOST", "status": "succeed",
                "detail": "timestamp is outside the tolerance", "body": LOST,
            })
        );
    }
}

#[tokio::test]
async fn an_age_is_rounded_away_from_the_tolerance() {
    for (timestamp, age) in [("1767225299999", 301), ("1767225900001", -301), ("2026-01-01T01:00:00.5Z", -3601)] {
        assert_eq!(receive(timestamp, LOST).await.log["ageSeconds"], age, "{timestamp}");
    }
    // The largest number that is read, in milliseconds.
    assert_eq!(receive("18446744073709551615", LOST).await.log["ageSeconds"], -18_446_742_306_483_952_i64);
}

#[tokio::test]
async fn an_outcome_with_an_unreadable_timestamp_is_400_and_logged_whole() {
    for timestamp in ["1795600489.431", "yesterday"] {
        let answer = receive(timestamp, LOST).await;
        let detail = "timestamp is not Unix seconds, Unix milliseconds or RFC 3339";
        assert_eq!((answer.status, answer.body), (400, json!({ "error": detail })));
        assert_eq!(
            answer.log,
            json!({
                "level": "WARN", "result": "timestamp_unreadable", "httpStatus": 400, "webhookId": "msg_1",
                "webhookTimestamp": timestamp, "taskId": "cmLOST", "status": "succeed", "detail": detail, "body": LOST,
            })
        );
    }
}

#[tokio::test]
async fn what_is_not_an_outcome_is_422_and_logged_whole_with_what_can_be_read_of_it() {
    for (body, task_id, status, why) in [
        (
            r#"{"taskId":"t1","status":"cancelled"}"#,
            Some("t1"),
            Some("cancelled"),
            "status is neither succeed nor failed",
        ),
        (r#"{"status":"failed"}"#, None, Some("failed"), NO_TASK_ID),
        (r#"{"taskId":7,"status":"failed"}"#, None, Some("failed"), NO_TASK_ID),
        (r#"{"taskId":"t1","status":["failed"]}"#, Some("t1"), None, "status is neither succeed nor failed"),
        (r#"{"taskId":"t1","status":"succeed","a":1,"a":2}"#, Some("t1"), Some("succeed"), "body repeats a key"),
        // Which of the two counts would be for each reader to guess.
        (
            r#"{"taskId":"t1","taskId":"t2","taskId":"t3","status":"failed"}"#,
            None,
            Some("failed"),
            "body repeats a key",
        ),
        (r#"{"taskId":"t1","status":"failed","status":"succeed"}"#, Some("t1"), None, "body repeats a key"),
        (r#"{"taskId":"a\nb","status":"a\tb"}"#, None, None, NO_TASK_ID),
        (r#"["t1","failed"]"#, None, None, "body is not a JSON object"),
        (r#"{"taskId":"t1","status":"failed"}{}"#, None, None, "body is not a JSON object"),
        ("", None, None, "body is not a JSON object"),
    ] {
        let answer = receive(&NOW.to_string(), body).await;
        let detail = format!("not a task outcome: {why}");
        assert_eq!((answer.status, answer.body), (422, json!({ "error": detail })));
        let mut expected = json!({
            "level": "WARN", "result": "not_an_outcome", "httpStatus": 422, "webhookId": "msg_1",
            "webhookTimestamp": NOW.to_string(), "detail": detail, "body": body,
        });
        for (name, value) in [("taskId", task_id), ("status", status)] {
            if let Some(value) = value {
                expected[name] = json!(value);
            }
        }
        assert_eq!(answer.log, expected, "{body}");
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
async fn a_body_of_300_000_bytes_is_published_for_sns_judges_the_topics_own_limit() {
    let function = Function::start(&[Reply::Accept]).await;
    let body = outcome_of(300_000);
    assert_eq!(function.receive(&event(&body)).await.status, 200);
    assert_eq!(function.sns.calls()[0].field("Message"), Some(&*body));
}

#[tokio::test]
async fn a_forged_body_of_any_size_is_401() {
    let function = Function::start(&[Reply::Accept]).await;
    for bytes in [300_000, 1_200_000] {
        let mut event = event(&outcome_of(bytes));
        event["headers"]["x-webhook-signature"] = json!(sign(b"another key", "msg_1", NOW.to_string(), b""));
        let answer = function.receive(&event).await;
        assert_eq!((answer.status, &answer.log["result"]), (401, &json!("signature_mismatch")));
        assert_eq!((&answer.log["bodyBytes"], &answer.log["taskId"]), (&json!(bytes), &Value::Null));
    }
    assert_eq!(function.sns.calls().len(), 0);
}

#[tokio::test]
async fn an_authentic_body_that_no_topic_takes_is_413_with_its_task() {
    let function = Function::start(&[Reply::Accept]).await;
    let answer = function.receive(&event(&outcome_of(1_200_000))).await;
    let detail = "message is larger than SNS can take: 1048576 bytes with its attributes";
    assert_eq!((answer.status, answer.body), (413, json!({ "error": detail })));
    assert_eq!(
        answer.log,
        json!({
            "level": "WARN", "result": "too_large", "httpStatus": 413, "webhookId": "msg_1", "taskId": "cmLOST",
            "status": "succeed", "webhookTimestamp": NOW.to_string(), "detail": detail, "bodyBytes": 1_200_000,
        })
    );
    assert_eq!(function.sns.calls().len(), 0);
}

#[tokio::test]
async fn a_mismatch_says_whether_the_header_or_the_key_is_to_blame() {
    let function = Function::with(&[Reply::Accept], &[("WEBHOOK_SECRET", TWO_KEYS)]).await;
    let other = sign(b"another key", "msg_1", NOW.to_string(), SUCCEED.as_bytes());
    let hexadecimal = "ab".repeat(32);
    for (signature, signatures, detail) in [
        (hexadecimal, 0, "no signature in the header is the Base64 of 32 bytes"),
        ("v1,".to_owned(), 0, "no signature in the header is the Base64 of 32 bytes"),
        (other.clone(), 1, "none of 1 signatures matches any of 2 keys"),
        (format!("v1,{other} v1,{other} v2,rubbish"), 2, "none of 2 signatures matches any of 2 keys"),
    ] {
        let mut event = event(SUCCEED);
        event["headers"]["x-webhook-signature"] = json!(signature);
        let answer = function.receive(&event).await;
        assert_eq!((answer.status, answer.body), (401, json!({ "error": "signature does not match" })));
        assert_eq!(
            answer.log,
            json!({
                "level": "WARN", "result": "signature_mismatch", "httpStatus": 401, "webhookId": "msg_1",
                "signatures": signatures, "keys": 2, "bodyBytes": SUCCEED.len(), "detail": detail,
            })
        );
    }
}

/// As Pollo's are: 44 letters and digits each, here one per line.
const TWO_KEYS: &str = "kVb3Yq0ZJf7sWm2TzR8cXh5LpN1dGu9EoKa4iBvCwHtM\nS6jUeOyDrPxQlI0nAg7ZkFbV3mT9hW2cJ5sYuR8qLzXE\n";

#[tokio::test]
async fn keys_one_per_line_are_two_keys() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    for separator in ["\n", "\r\n", " ", "\t", ", ", ",\n", " ,"] {
        let keys = TWO_KEYS.trim().replace('\n', separator);
        let function = Function::with(&[Reply::Accept], &[("WEBHOOK_SECRET", &keys)]).await;
        for key in TWO_KEYS.lines() {
            let mut event = event(SUCCEED);
            let key = STANDARD.decode(key).unwrap();
            assert_eq!(key.len(), 33);
            event["headers"]["x-webhook-signature"] = json!(sign(&key, "msg_1", NOW.to_string(), SUCCEED.as_bytes()));
            assert_eq!(function.receive(&event).await.status, 200, "{separator:?}");
        }
    }
}
