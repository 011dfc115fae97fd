//! The expected result of a request, computed with other libraries than the function's: another HMAC, and other parsers
//! of JSON and dates.

use std::collections::HashSet;

use jiff::Timestamp;
use jiter::{JsonErrorType, JsonValue};
use lambda_http::Request;
use lambda_http::http::Method;
use pollo_webhook::MAX_TASK_ID_BYTES;
use signer::{KEY_BYTES, NOW, sign};

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
        let signatures = self.signature.split(|b| b" ,".contains(b)).filter(|token| is_signature(token));
        let mac = self.mac();
        signatures.take(32).any(|token| token == mac.as_bytes())
    }
}

/// The only valid Base64 of 32 bytes: 43 characters, of which the last has two zero bits, and `=`.
fn is_signature(token: &[u8]) -> bool {
    let [text @ .., last, b'='] = token else { return false };
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || b"+/".contains(b);
    text.len() == 42 && text.iter().all(is_base64) && b"AEIMQUYcgkosw048".contains(last)
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
    let is_outcome = read(webhook.body).map(|outcome| outcome.is_some());
    if in_time == Some(false) || is_outcome == Some(false) { Some(false) } else { Some(in_time? && is_outcome?) }
}

fn is_readable(text: &str) -> bool {
    !text.contains(|c| matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{fffe}' | '\u{ffff}'))
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
    match text.parse::<Timestamp>() {
        Ok(date) if date.to_string() == text || !is_near(date.as_nanosecond()) => Some(is_near(date.as_nanosecond())),
        Ok(_) => None,
        // jiff reads at most nine digits of a fraction.
        Err(_) if text.contains('.') => None,
        Err(_) => Some(false),
    }
}

/// The task id and the status of an outcome. `None` if the function may skip a value that the parser here rejects.
pub fn read(body: &[u8]) -> Option<Option<(String, String)>> {
    let Ok(JsonValue::Object(fields)) = parse(body)? else { return Some(None) };
    let keys: HashSet<_> = fields.iter().map(|(key, _)| key).collect();
    let text = |name| match fields.iter().find(|(key, _)| key == name) {
        Some((_, JsonValue::Str(text))) => Some(text.to_string()),
        _ => None,
    };
    let is_task_id = |text: &String| (1..=MAX_TASK_ID_BYTES).contains(&text.len()) && is_readable(text);
    let is_status = |text: &String| ["succeed", "failed"].contains(&text.as_str());
    let has_noncharacter = String::from_utf8_lossy(body).contains(['\u{fffe}', '\u{ffff}']);
    let outcome = text("taskId").filter(is_task_id).zip(text("status").filter(is_status));
    Some(outcome.filter(|_| keys.len() == fields.len() && !has_noncharacter))
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
