//! Signed webhooks of Pollo, as function-URL events.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use signer::{KEY, KEY_BYTES, NOW, sign};

pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

pub const SUCCEED: &str = r#"{"taskId":"cm9ap1d4e0001","status":"succeed"}"#;
pub const FAILED: &str = r#"{"taskId":"cm9ap1d4e0001","status":"failed"}"#;

/// A signed webhook as a function-URL event.
pub fn event(body: &str) -> Value {
    event_at(&NOW.to_string(), body)
}

pub fn event_at(timestamp: &str, body: &str) -> Value {
    signed_event("msg_1", timestamp, body.as_bytes())
}

/// A signed webhook with a binary body, which a function URL encodes as Base64.
pub fn base64_event(timestamp: &str, body: &[u8]) -> Value {
    let mut event = signed_event("msg_1", timestamp, body);
    event["headers"]["content-type"] = json!("application/octet-stream");
    event["body"] = json!(STANDARD.encode(body));
    event["isBase64Encoded"] = json!(true);
    event
}

/// A sample event with this body, signed anew. A webhook's URL can have any path and query.
pub fn signed_event(id: &str, timestamp: &str, body: &[u8]) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../events/succeed.json")).unwrap();
    event["rawPath"] = json!("/api/pollo/webhook");
    event["rawQueryString"] = json!("a=b");
    event["body"] = json!(String::from_utf8_lossy(body));
    event["headers"]["x-webhook-id"] = json!(id);
    event["headers"]["x-webhook-timestamp"] = json!(timestamp);
    event["headers"]["x-webhook-signature"] = json!(sign(KEY_BYTES, id, timestamp, body));
    event
}

/// In hexadecimal, as in the log.
pub fn sha256(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}
