//! The outcome of a task, parsed from a verified webhook.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::webhook::{FreshWebhook, VerifiedWebhook, is_plain_text};

/// Longest accepted task id, in bytes. Pollo's task ids have about 25. Pollo documents no limit.
pub const MAX_TASK_ID_BYTES: usize = 256;

/// Why an authentic message is not a task outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnOutcome {
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
}

/// A task outcome that Pollo has sent.
///
/// Only [`TaskOutcome::parse`] makes one, from a [`FreshWebhook`]. So the outcome is authentic and fresh.
#[derive(Clone, Debug)]
pub struct TaskOutcome<'a> {
    task_id: String,
    status: String,
    message: &'a str,
    webhook: VerifiedWebhook<'a>,
}

impl<'a> TaskOutcome<'a> {
    /// Reads the body of an authentic and fresh webhook.
    ///
    /// The body must be a JSON object with a `taskId`, a `status` and no repeated key. Other fields may have any value,
    /// of any depth. They are not read, and are published unchanged.
    ///
    /// # Errors
    ///
    /// [`NotAnOutcome`], if the body breaks one of these rules.
    pub fn parse(webhook: FreshWebhook<'a>) -> Result<Self, NotAnOutcome> {
        let webhook = webhook.verified();
        let message = str::from_utf8(webhook.body()).map_err(|_| NotAnOutcome::NotAnObject)?;
        let Fields { task_id, status, repeated_key } = Fields::read(message).ok_or(NotAnOutcome::NotAnObject)?;
        if repeated_key {
            return Err(NotAnOutcome::RepeatedKey);
        }
        let task_id = task_id.ok_or(NotAnOutcome::NoTaskId)?;
        let is_known = |status: &String| matches!(&**status, "succeed" | "failed");
        let status = status.filter(is_known).ok_or(NotAnOutcome::UnknownStatus)?;
        Ok(Self { task_id, status, message, webhook })
    }

    /// `taskId`: 1 to [`MAX_TASK_ID_BYTES`] bytes, without control characters.
    pub fn task_id(&self) -> &str {
        &self.task_id
    }

    /// `status`: `succeed` or `failed`.
    pub fn status(&self) -> &str {
        &self.status
    }

    /// The verified body, byte for byte.
    pub fn message(&self) -> &'a str {
        self.message
    }

    /// The webhook that contained the outcome.
    pub fn webhook(&self) -> VerifiedWebhook<'a> {
        self.webhook
    }
}

/// `taskId` and `status` of an authentic body, each if it is readable. The log line of a webhook that is not published
/// contains them.
pub(crate) fn task_id_and_status(webhook: &VerifiedWebhook<'_>) -> (Option<String>, Option<String>) {
    let fields = str::from_utf8(webhook.body()).ok().and_then(Fields::read).unwrap_or_default();
    (fields.task_id, fields.status)
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
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let field = match key.as_str() {
                "taskId" => Some(&mut fields.task_id),
                "status" => Some(&mut fields.status),
                _ => None,
            };
            let is_new = keys.insert(key);
            match field {
                Some(field) => {
                    let text = map.next_value::<Value>()?.as_str().map(str::to_owned).filter(|_| is_new);
                    *field = text.filter(|text| (1..=MAX_TASK_ID_BYTES).contains(&text.len()) && is_plain_text(text));
                }
                // `IgnoredAny` skips a value without recursion, so deep nesting cannot exhaust the stack.
                None => drop(map.next_value::<IgnoredAny>()?),
            }
            fields.repeated_key |= !is_new;
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::testing::fresh;

    fn parse(body: &str) -> Result<(String, String), NotAnOutcome> {
        TaskOutcome::parse(fresh(body.as_bytes())).map(|outcome| (outcome.task_id, outcome.status))
    }

    fn with_task_id(task_id: &str) -> String {
        serde_json::json!({ "taskId": task_id, "status": "failed" }).to_string()
    }

    #[test]
    fn reads_the_documented_body() {
        assert_eq!(parse(r#"{"taskId":"t1","status":"succeed"}"#), Ok(("t1".into(), "succeed".into())));
        assert_eq!(parse(r#"{"taskId":"t1","status":"failed"}"#), Ok(("t1".into(), "failed".into())));
        assert_eq!(
            parse(" {\r\n\t\"status\" : \"failed\",\n\"taskId\":\"t1\" }\n"),
            Ok(("t1".into(), "failed".into()))
        );
        assert_eq!(parse(r#"{"task\u0049d":"t\u0031","status":"faile\u0064"}"#), Ok(("t1".into(), "failed".into())));
    }

    #[test]
    fn keeps_the_body_byte_for_byte() {
        let body = " {\"credit\":1.0,\"taskId\":\"t\\u0031\",\n\"generations\":[{\"url\":\"https:\\/\\/a/ü\"}],\"status\":\"failed\"}\n";
        let outcome = TaskOutcome::parse(fresh(body.as_bytes())).unwrap();
        assert_eq!(outcome.message(), body);
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
            assert_eq!(parse(&body), Ok(("t1".into(), "succeed".into())), "{body}");
        }
    }

    #[test]
    fn ignores_nesting_of_any_depth_without_using_the_stack() {
        let deep = 100_000;
        let body = format!(r#"{{"a":{}{},"taskId":"t1","status":"succeed"}}"#, "[".repeat(deep), "]".repeat(deep));
        assert_eq!(parse(&body), Ok(("t1".into(), "succeed".into())));
        let body = format!(r#"{{"taskId":{}{},"status":"succeed"}}"#, "[".repeat(deep), "]".repeat(deep));
        assert_eq!(parse(&body), Err(NotAnOutcome::NotAnObject));
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
            assert_eq!(parse(body), Err(NotAnOutcome::RepeatedKey), "{body}");
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
            assert_eq!(parse(body), Err(NotAnOutcome::NotAnObject), "{body}");
        }
        let latin_1 = b"{\"taskId\":\"t1\",\"status\":\"succeed\",\"a\":\"\xe9\"}";
        assert_eq!(TaskOutcome::parse(fresh(latin_1)).map(drop), Err(NotAnOutcome::NotAnObject));
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
            assert_eq!(parse(body), Err(NotAnOutcome::NoTaskId), "{body}");
        }
    }

    #[test]
    fn accepts_a_task_id_that_sns_accepts_as_an_attribute() {
        for task_id in ["t", " ", "a b", "動画-🎬", "a\"b\\", &"t".repeat(256), &"é".repeat(128)] {
            assert_eq!(parse(&with_task_id(task_id)), Ok((task_id.into(), "failed".into())), "{task_id:?}");
        }
        for task_id in
            ["", "a\nb", "\t", "a\0", "\u{7f}", "\u{85}", "\u{fffe}", "\u{ffff}", &"t".repeat(257), &"é".repeat(129)]
        {
            assert_eq!(parse(&with_task_id(task_id)), Err(NotAnOutcome::NoTaskId), "{task_id:?}");
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
            assert_eq!(parse(&body), Err(NotAnOutcome::UnknownStatus), "{body}");
        }
        assert_eq!(parse(r#"{"taskId":"t1"}"#), Err(NotAnOutcome::UnknownStatus));
    }
}
