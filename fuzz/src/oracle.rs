//! The expected result of a request, computed with other libraries than the function's: another HMAC, and other parsers
//! of JSON and dates.

use std::collections::HashSet;

use jiff::Timestamp;
use jiter::{JsonErrorType, JsonValue};
use lambda_http::Request;
use lambda_http::http::Method;
use pollo_webhook::{MAX_MESSAGE_BYTES, MAX_TASK_ID_BYTES};

use crate::{KEY_BYTES, NOW, sign};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The parts of a request, readable or not. A missing header is empty.
pub struct Webhook<'a> {
    pub id: &'a [u8],
    pub timestamp: &'a [u8],
    pub signature: &'a [u8],
    pub body: &'a [u8],
}

impl<'a> Webhook<'a> {
    pub fn of(request: &'a Request) -> Self {
        let header = |name| request.headers().get(name).map_or(&[][..], |value| value.as_bytes());
        Self {
            id: header("x-webhook-id"),
            timestamp: header("x-webhook-timestamp"),
            signature: header("x-webhook-signature"),
            body: request.body(),
        }
    }

    /// The correct signature.
    pub fn mac(&self) -> String {
        sign(KEY_BYTES, self.id, self.timestamp, self.body)
    }

    /// Whether the correct signature is among the first 32 in the header.
    fn is_signed(&self) -> bool {
        let mut signatures = self.signature.split(|b| b" ,".contains(b)).filter(|token| is_signature(token));
        let mac = self.mac();
        signatures.by_ref().take(32).any(|token| token == mac.as_bytes())
    }
}

/// The only valid Base64 of 32 bytes: 43 characters, of which the last has two zero bits, and `=`.
fn is_signature(token: &[u8]) -> bool {
    let value = |b: &u8| ALPHABET.iter().position(|c| c == b);
    token.len() == 44
        && token[43] == b'='
        && token[..43].iter().all(|b| value(b).is_some())
        && value(&token[42]).is_some_and(|value| value % 4 == 0)
}

/// Whether `request` is a webhook that was signed with the key.
pub fn is_authentic(request: &Request) -> bool {
    let webhook = Webhook::of(request);
    let headers = [webhook.id, webhook.timestamp, webhook.signature];
    request.method() == Method::POST
        && headers.iter().all(|header| str::from_utf8(header).is_ok_and(|text| !text.is_empty() && is_readable(text)))
        && webhook.is_signed()
}

/// Whether `request` must be published. `None` if the parsers here may differ from the function's.
pub fn is_valid(request: &Request, timed: bool) -> Option<bool> {
    let webhook = Webhook::of(request);
    if !is_authentic(request) {
        return Some(false);
    }
    let in_time = if timed { is_in_time(str::from_utf8(webhook.timestamp).ok()?) } else { Some(true) };
    let fits = match read(webhook.body) {
        Body::Outcome(outcome) => Some(outcome.size(&webhook) <= MAX_MESSAGE_BYTES),
        Body::Else => Some(false),
        Body::Unread => None,
    };
    match (in_time, fits) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn is_readable(text: &str) -> bool {
    !text.contains(|c| matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{fffe}' | '\u{ffff}'))
}

pub fn is_task_id(text: &str) -> bool {
    (1..=MAX_TASK_ID_BYTES).contains(&text.len()) && is_readable(text)
}

pub fn is_status(text: &str) -> bool {
    ["succeed", "failed"].contains(&text)
}

/// Whether a timestamp is within five minutes. `None` for such a date in a format that the function may reject.
fn is_in_time(text: &str) -> Option<bool> {
    let is_near = |nanoseconds: i128| nanoseconds.abs_diff(i128::from(NOW) * 1_000_000_000) <= 300 * 1_000_000_000;
    if text.bytes().all(|b| b.is_ascii_digit()) {
        // Strict, because a part of an id or a body, split at another dot, can look like a number.
        let number = text.parse::<i128>().ok().filter(|_| !text.starts_with('0'));
        let unit = |number| if number < 100_000_000_000 { 1_000_000_000 } else { 1_000_000 };
        return Some(number.is_some_and(|number| is_near(number.saturating_mul(unit(number)))));
    }
    let Ok(date) = shortened(text).parse::<Timestamp>() else { return Some(false) };
    match is_near(date.as_nanosecond()) {
        true if date.to_string() != text => None,
        near => Some(near),
    }
}

/// A date with at most as many digits of a second as `jiff` reads.
fn shortened(date: &str) -> String {
    let mut digits = 0;
    let mut fraction = false;
    date.chars()
        .filter(|c| {
            fraction = *c == '.' || fraction && c.is_ascii_digit();
            digits = if fraction { digits + 1 } else { 0 };
            digits <= 10
        })
        .collect()
}

pub enum Body {
    Outcome(Outcome),
    /// JSON that is not an outcome, or invalid JSON.
    Else,
    /// JSON with a value that the function skips and the parser here rejects.
    Unread,
}

pub struct Outcome {
    pub task_id: String,
    pub status: String,
}

impl Outcome {
    /// The size of the message in bytes, as SNS counts it.
    pub fn size(&self, webhook: &Webhook<'_>) -> usize {
        let names = ["status", "taskId", "webhookId", "webhookTimestamp"].concat().len() + 4 * "String".len();
        let values = self.status.len() + self.task_id.len() + webhook.id.len() + webhook.timestamp.len();
        webhook.body.len() + names + values
    }
}

pub fn read(body: &[u8]) -> Body {
    let fields = match parse(body) {
        Some(Ok(JsonValue::Object(fields))) => fields,
        Some(_) => return Body::Else,
        None => return Body::Unread,
    };
    let keys: HashSet<_> = fields.iter().map(|(key, _)| key).collect();
    let text = |name| match fields.iter().find(|(key, _)| key == name) {
        Some((_, JsonValue::Str(text))) => Some(text.to_string()),
        _ => None,
    };
    match (text("taskId").filter(|id| is_task_id(id)), text("status").filter(|status| is_status(status))) {
        (Some(task_id), Some(status)) if keys.len() == fields.len() => Body::Outcome(Outcome { task_id, status }),
        _ => Body::Else,
    }
}

/// Parses JSON. `None` for an error that a parser may not report if it skips the value.
pub fn parse(json: &[u8]) -> Option<Result<JsonValue<'_>, JsonErrorType>> {
    match JsonValue::parse(json, false).map_err(|error| error.error_type) {
        Err(
            JsonErrorType::InvalidUnicodeCodePoint
            | JsonErrorType::LoneLeadingSurrogateInHexEscape
            | JsonErrorType::NumberOutOfRange
            | JsonErrorType::RecursionLimitExceeded
            | JsonErrorType::UnexpectedEndOfHexEscape,
        ) => None,
        read => Some(read),
    }
}
