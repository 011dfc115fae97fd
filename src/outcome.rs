//! The outcome of a task, parsed from a verified webhook.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::webhook::{FreshWebhook, VerifiedWebhook};

/// Longest accepted task id, in bytes. Pollo's task ids have about 25. Pollo documents no limit.
pub const MAX_TASK_ID_BYTES: usize = 256;

/// Why an authentic message is not a task outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutcomeError {
    /// The body is not UTF-8, or not one JSON object.
    #[error("body is not a JSON object")]
    NotAnObject,
    /// A key of the object is repeated.
    #[error("body repeats a key")]
    RepeatedKey,
    /// `taskId` is missing, or cannot be a message attribute.
    #[error("taskId is not a string of 1 to {MAX_TASK_ID_BYTES} bytes without control characters")]
    NoTaskId,
    /// `status` is neither `succeed` nor `failed`.
    #[error("status is neither succeed nor failed")]
    UnknownStatus,
    /// SQS accepts only characters that XML allows, so a queue would never get the message.
    #[error("body contains U+FFFE or U+FFFF, which SQS rejects")]
    Noncharacter,
}

/// How a task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `succeed`
    Succeed,
    /// `failed`
    Failed,
}

impl Status {
    /// The status as Pollo writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeed => "succeed",
            Self::Failed => "failed",
        }
    }
}

/// A task outcome that Pollo has sent.
///
/// Only [`TaskOutcome::parse`] makes one, from a [`FreshWebhook`]. So the outcome is authentic and fresh.
#[derive(Clone)]
pub struct TaskOutcome<'a> {
    task_id: String,
    status: Status,
    message: &'a str,
    webhook_id: &'a str,
    webhook_timestamp: &'a str,
}

impl fmt::Debug for TaskOutcome<'_> {
    /// Shows the size of the message, because its links to results need no login.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskOutcome")
            .field("task_id", &self.task_id)
            .field("status", &self.status)
            .field("message", &format_args!("[{} bytes]", self.message.len()))
            .field("webhook_id", &self.webhook_id)
            .field("webhook_timestamp", &self.webhook_timestamp)
            .finish()
    }
}

impl<'a> TaskOutcome<'a> {
    /// Reads the body of an authentic and fresh webhook.
    ///
    /// The body must be a JSON object with a `taskId`, a `status` and no repeated key. Other fields may have any value,
    /// of any depth. They are not read, and are published unchanged.
    ///
    /// # Errors
    ///
    /// [`OutcomeError`], if the body breaks one of these rules.
    pub fn parse(webhook: FreshWebhook<'a>) -> Result<Self, OutcomeError> {
        let webhook = webhook.verified();
        let message = str::from_utf8(webhook.body()).map_err(|_| OutcomeError::NotAnObject)?;
        let Fields { task_id, status, repeated_key } = Fields::read(message).ok_or(OutcomeError::NotAnObject)?;
        if repeated_key {
            return Err(OutcomeError::RepeatedKey);
        }
        let task_id = task_id.ok_or(OutcomeError::NoTaskId)?;
        let status = match status.as_deref() {
            Some("succeed") => Status::Succeed,
            Some("failed") => Status::Failed,
            _ => return Err(OutcomeError::UnknownStatus),
        };
        if message.contains(NONCHARACTERS) {
            return Err(OutcomeError::Noncharacter);
        }
        Ok(Self { task_id, status, message, webhook_id: webhook.id(), webhook_timestamp: webhook.timestamp() })
    }

    /// `taskId`: 1 to [`MAX_TASK_ID_BYTES`] bytes, without control characters.
    pub fn task_id(&self) -> &str {
        &self.task_id
    }

    /// `status`
    pub fn status(&self) -> Status {
        self.status
    }

    /// The verified body, byte for byte.
    pub fn message(&self) -> &'a str {
        self.message
    }

    /// The id of the webhook that contained the outcome.
    pub fn webhook_id(&self) -> &'a str {
        self.webhook_id
    }

    /// The timestamp of the webhook that contained the outcome, as received.
    pub fn webhook_timestamp(&self) -> &'a str {
        self.webhook_timestamp
    }
}

/// `taskId` and `status` of an authentic body, each if it is readable. The log line of a webhook that is not published
/// contains them.
pub(crate) fn task_id_and_status(webhook: &VerifiedWebhook<'_>) -> (Option<String>, Option<String>) {
    let fields = str::from_utf8(webhook.body()).ok().and_then(Fields::read).unwrap_or_default();
    (fields.task_id, fields.status)
}

/// The two characters above U+001F that XML, and therefore SQS, does not allow.
const NONCHARACTERS: [char; 2] = ['\u{fffe}', '\u{ffff}'];

/// Whether text can be a message attribute, and can be shown.
pub(crate) fn is_plain_text(text: &str) -> bool {
    text.chars().all(is_plain)
}

/// Control characters can change what a terminal shows.
pub(crate) fn is_plain(c: char) -> bool {
    !c.is_control() && !NONCHARACTERS.contains(&c)
}

/// The fields that are read from a body. A field is `None` unless it is a string of 1 to [`MAX_TASK_ID_BYTES`] bytes
/// without control characters. A repeated field is `None`, because parsers differ in which value they use.
#[derive(Default)]
struct Fields {
    task_id: Option<String>,
    status: Option<String>,
    repeated_key: bool,
}

impl Fields {
    /// `None` if the text is not one JSON object.
    fn read(json: &str) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let fields = deserializer.deserialize_map(FieldsVisitor).ok()?;
        deserializer.end().ok()?;
        Some(fields)
    }
}

/// A derived `Deserialize` would also accept `["t1","succeed"]`, and would not detect other repeated keys.
struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        // Hashes use less memory than keys: a body of 6 MB can have 700,000 keys. Each body gets a new hasher, so a
        // webhook whose keys collide, with a probability of 2^-64 for two keys, is accepted when Pollo retries.
        let hasher = RandomState::new();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let is_new = seen.insert(hasher.hash_one(&key));
            fields.repeated_key |= !is_new;
            let field = match key.as_str() {
                "taskId" => &mut fields.task_id,
                "status" => &mut fields.status,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            // A value is skipped without recursion and without memory, whatever its depth or size.
            let value = map.next_value::<&RawValue>()?;
            *field = if is_new { plain_string(value) } else { None };
        }
        Ok(fields)
    }
}

/// The text of a JSON string of 1 to [`MAX_TASK_ID_BYTES`] bytes without control characters.
fn plain_string(json: &RawValue) -> Option<String> {
    let text: String = serde_json::from_str(json.get()).ok()?;
    Some(text).filter(|text| (1..=MAX_TASK_ID_BYTES).contains(&text.len()) && is_plain_text(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::fresh;

    fn parse(body: &str) -> Result<(String, Status), OutcomeError> {
        TaskOutcome::parse(fresh(body.as_bytes())).map(|outcome| (outcome.task_id, outcome.status))
    }

    fn with_task_id(task_id: &str) -> String {
        serde_json::json!({ "taskId": task_id, "status": "failed" }).to_string()
    }

    #[test]
    fn reads_the_documented_body() {
        assert_eq!(parse(r#"{"taskId":"t1","status":"succeed"}"#), Ok(("t1".into(), Status::Succeed)));
        assert_eq!(parse(r#"{"taskId":"t1","status":"failed"}"#), Ok(("t1".into(), Status::Failed)));
        assert_eq!(parse(" {\r\n\t\"status\" : \"failed\",\n\"taskId\":\"t1\" }\n"), Ok(("t1".into(), Status::Failed)));
        assert_eq!(parse(r#"{"task\u0049d":"t\u0031","status":"faile\u0064"}"#), Ok(("t1".into(), Status::Failed)));
    }

    #[test]
    fn keeps_the_body_byte_for_byte() {
        let body = " {\"credit\":1.0,\"taskId\":\"t\\u0031\",\n\"generations\":[{\"url\":\"https:\\/\\/a/ü\"}],\"status\":\"failed\"}\n";
        let outcome = TaskOutcome::parse(fresh(body.as_bytes())).unwrap();
        assert_eq!(outcome.message(), body);
    }

    #[test]
    fn shows_the_size_of_the_message_when_printed() {
        let outcome = TaskOutcome::parse(fresh(br#"{"taskId":"t1","status":"succeed","url":"https://a.example/1"}"#));
        assert_eq!(
            format!("{:?}", outcome.unwrap()),
            r#"TaskOutcome { task_id: "t1", status: Succeed, message: [62 bytes], webhook_id: "msg_1", webhook_timestamp: "1767225600" }"#
        );
    }

    #[test]
    fn rejects_a_body_with_characters_that_sqs_rejects() {
        for character in ['\u{fffe}', '\u{ffff}'] {
            let body = format!(r#"{{"taskId":"t1","status":"succeed","prompt":"a{character}"}}"#);
            assert_eq!(parse(&body), Err(OutcomeError::Noncharacter), "{body}");
        }
        // SQS accepts the neighbours, other noncharacters, and escapes, which are ASCII.
        for text in ["\u{fffd}", "\u{10000}", "\u{1ffff}", "\u{7f}\u{9f}", "\\uffff"] {
            let body = format!(r#"{{"taskId":"t1","status":"succeed","prompt":"{text}"}}"#);
            assert_eq!(parse(&body), Ok(("t1".into(), Status::Succeed)), "{body}");
        }
    }

    #[test]
    fn ignores_other_fields_with_any_value() {
        for field in [
            r#""a":null"#,
            r#""a":[{"taskId":"t2","status":"failed"},{"taskId":"t3"}]"#,
            r#""a":{"b":1,"b":2}"#,
            r#""a":1e999"#,
            r#""a":"\ud800""#,
            r#""TaskId":1,"taskid":2,"":3"#,
        ] {
            let body = format!(r#"{{{field},"taskId":"t1","status":"succeed"}}"#);
            assert_eq!(parse(&body), Ok(("t1".into(), Status::Succeed)), "{body}");
        }
    }

    #[test]
    fn ignores_nesting_of_any_depth_without_using_the_stack() {
        let deep = 100_000;
        let body = format!(r#"{{"a":{}{},"taskId":"t1","status":"succeed"}}"#, "[".repeat(deep), "]".repeat(deep));
        assert_eq!(parse(&body), Ok(("t1".into(), Status::Succeed)));
        let body = format!(r#"{{"taskId":{}{},"status":"succeed"}}"#, "[".repeat(deep), "]".repeat(deep));
        assert_eq!(parse(&body), Err(OutcomeError::NoTaskId));
    }

    #[test]
    fn rejects_any_repeated_key() {
        for body in [
            r#"{"taskId":"t1","taskId":"t1","status":"succeed"}"#,
            r#"{"taskId":"t1","status":"succeed","status":"failed"}"#,
            r#"{"taskId":"t1","status":"succeed","a":1,"a":1}"#,
            r#"{"taskId":"t1","status":"succeed","task\u0049d":"t2"}"#,
            r#"{"taskId":null,"taskId":"t1","status":"succeed"}"#,
        ] {
            assert_eq!(parse(body), Err(OutcomeError::RepeatedKey), "{body}");
        }
    }

    #[test]
    fn rejects_a_body_that_is_not_one_json_object() {
        for body in [
            "",
            " ",
            "null",
            "true",
            "1",
            r#""taskId""#,
            r#"["t1","succeed"]"#,
            r#"[{"taskId":"t1","status":"succeed"}]"#,
            r#"{"taskId":"t1","status":"succeed"}{}"#,
            r#"{"taskId":"t1","status":"succeed"},"#,
            r#"{"taskId":"t1","status":"succeed""#,
            r#"{"taskId":"t1","status":"succeed",}"#,
            r#"{taskId:"t1",status:"succeed"}"#,
            r#"1767225600.{"taskId":"t1","status":"succeed"}"#,
            "\u{feff}{\"taskId\":\"t1\",\"status\":\"succeed\"}",
            "{\"taskId\":\"t\n1\",\"status\":\"succeed\"}",
            "taskId=t1&status=succeed",
        ] {
            assert_eq!(parse(body), Err(OutcomeError::NotAnObject), "{body}");
        }
        let latin_1 = b"{\"taskId\":\"t1\",\"status\":\"succeed\",\"a\":\"\xe9\"}";
        assert_eq!(TaskOutcome::parse(fresh(latin_1)).map(drop), Err(OutcomeError::NotAnObject));
    }

    #[test]
    fn rejects_a_task_id_that_is_missing_or_not_a_string() {
        for body in [
            "{}",
            r#"{"status":"succeed"}"#,
            r#"{"task_id":"t1","status":"succeed"}"#,
            r#"{"taskId":null,"status":"succeed"}"#,
            r#"{"taskId":1,"status":"succeed"}"#,
            r#"{"taskId":["t1"],"status":"succeed"}"#,
        ] {
            assert_eq!(parse(body), Err(OutcomeError::NoTaskId), "{body}");
        }
    }

    #[test]
    fn accepts_a_task_id_that_sns_accepts_as_an_attribute() {
        for task_id in ["t", " ", "a b", "動画-🎬", "a\"b\\", &"t".repeat(256), &"é".repeat(128)] {
            assert_eq!(parse(&with_task_id(task_id)), Ok((task_id.into(), Status::Failed)), "{task_id:?}");
        }
        for task_id in
            ["", "a\nb", "\t", "a\0", "\u{7f}", "\u{85}", "\u{fffe}", "\u{ffff}", &"t".repeat(257), &"é".repeat(129)]
        {
            assert_eq!(parse(&with_task_id(task_id)), Err(OutcomeError::NoTaskId), "{task_id:?}");
        }
    }

    #[test]
    fn rejects_any_other_status() {
        for status in [
            r#""""#,
            r#""success""#,
            r#""Succeed""#,
            r#""succeed ""#,
            r#""processing""#,
            "null",
            "1",
            "true",
            r#"["succeed"]"#,
        ] {
            let body = format!(r#"{{"taskId":"t1","status":{status}}}"#);
            assert_eq!(parse(&body), Err(OutcomeError::UnknownStatus), "{body}");
        }
        assert_eq!(parse(r#"{"taskId":"t1"}"#), Err(OutcomeError::UnknownStatus));
    }
}
