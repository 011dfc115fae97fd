//! The outcome of a task, parsed from a verified webhook.

use std::collections::{HashSet, hash_map::RandomState};
use std::fmt;
use std::hash::BuildHasher as _;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::webhook::FreshWebhook;

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
#[derive(Clone, Debug)]
pub struct TaskOutcome<'a> {
    task_id: String,
    status: Status,
    webhook: FreshWebhook<'a>,
}

impl<'a> TaskOutcome<'a> {
    /// Reads the body of an authentic and fresh webhook.
    ///
    /// The body must be a JSON object with a `taskId`, a `status` and no repeated key. Other fields may have any value,
    /// of any depth. They are not read, and are published unchanged.
    pub fn parse(webhook: FreshWebhook<'a>) -> Result<Self, OutcomeError> {
        let message = str::from_utf8(webhook.body).map_err(|_| OutcomeError::NotAnObject)?;
        let Fields { task_id, status, repeated_key } = Fields::read(webhook.body).ok_or(OutcomeError::NotAnObject)?;
        if repeated_key {
            return Err(OutcomeError::RepeatedKey);
        }
        let task_id = task_id.ok_or(OutcomeError::NoTaskId)?;
        let is_status = |known: &Status| status.as_deref() == Some(known.as_str());
        let status = [Status::Succeed, Status::Failed].into_iter().find(is_status);
        let status = status.ok_or(OutcomeError::UnknownStatus)?;
        if message.contains(NONCHARACTERS) {
            return Err(OutcomeError::Noncharacter);
        }
        Ok(Self { task_id, status, webhook })
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
        str::from_utf8(self.webhook.body).expect("`parse` has read it as text")
    }

    /// The webhook that contained the outcome.
    pub fn webhook(&self) -> FreshWebhook<'a> {
        self.webhook
    }
}

/// The two characters above U+001F that XML, and therefore SQS, does not allow.
const NONCHARACTERS: [char; 2] = ['\u{fffe}', '\u{ffff}'];

/// Whether a character can be in a message attribute. Control characters can change what a terminal shows.
pub(crate) fn is_plain(c: char) -> bool {
    !c.is_control() && !NONCHARACTERS.contains(&c)
}

/// The fields that are read from a body. A field is `None` unless it is a string of 1 to [`MAX_TASK_ID_BYTES`] bytes
/// without control characters. A repeated field is `None`, because parsers differ in which value they use.
#[derive(Default)]
pub(crate) struct Fields {
    pub task_id: Option<String>,
    pub status: Option<String>,
    repeated_key: bool,
}

impl Fields {
    /// `None` if the body is not one JSON object.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let fields = deserializer.deserialize_map(Self::default()).ok()?;
        deserializer.end().ok()?;
        Some(fields)
    }
}

/// A derived `Deserialize` would also accept `["t1","succeed"]`, and would not detect other repeated keys.
impl<'de> Visitor<'de> for Fields {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        // Hashes use less memory than keys: a body of 6 MB can have 700,000 keys. Each body gets a new hasher, so a
        // webhook whose keys collide, with a probability of 2^-64 for two keys, is accepted when Pollo retries.
        let hasher = RandomState::new();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            // Skips a value of any depth and size without recursion and without a copy.
            let value = map.next_value::<&RawValue>()?;
            let is_new = seen.insert(hasher.hash_one(&key));
            self.repeated_key |= !is_new;
            match key.as_str() {
                "taskId" => self.task_id = plain_string(value).filter(|_| is_new),
                "status" => self.status = plain_string(value).filter(|_| is_new),
                _ => {}
            }
        }
        Ok(self)
    }
}

fn plain_string(json: &RawValue) -> Option<String> {
    let text: String = serde_json::from_str(json.get()).ok()?;
    Some(text).filter(|text| (1..=MAX_TASK_ID_BYTES).contains(&text.len()) && text.chars().all(is_plain))
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
        let printed = format!("{:?}", outcome.unwrap());
        assert!(printed.contains("62 bytes") && !printed.contains("example"), "{printed}");
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
