//! The log: one JSON object per line on standard output, which Lambda sends to CloudWatch.
//!
//! No line is longer than 65,536 bytes. Lambda can cut a longer line, and a line that is cut is not JSON: no metric
//! counts it, no alarm fires, and nothing can be replayed.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_runtime::tracing::subscriber::filter::{LevelFilter, Targets};
use lambda_runtime::tracing::subscriber::fmt::MakeWriter;
use lambda_runtime::tracing::subscriber::layer::SubscriberExt as _;
use lambda_runtime::tracing::subscriber::{fmt, registry};
use sha2::{Digest as _, Sha256};
use tracing::{Level, Subscriber, error, field, info, warn};

use crate::outcome::is_plain;

/// Most characters of an id, a timestamp or a code in a line, 768 bytes if each one is escaped. A forged webhook's id
/// can have any length.
const MAX_ID_CHARACTERS: usize = 128;
/// Most characters of a `detail`, 6,000 bytes if each one is escaped.
const MAX_DETAIL_CHARACTERS: usize = 1_000;
/// Largest body in a line, in bytes. Pollo's bodies seen in public have up to 5 KB.
const MAX_BODY_BYTES: usize = 30_000;
/// Largest body in a line after JSON has escaped it, in bytes. The other fields have at most 12,000.
const MAX_ESCAPED_BODY_BYTES: usize = 50_000;

thread_local! {
    /// The id of the invocation that is running. The runtime has one thread, and handles one invocation at a time.
    static REQUEST_ID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Writes the function's lines from INFO up and the libraries' errors, each as one flat JSON object.
///
/// The levels are fixed, because at lower levels the libraries print whole events, signatures and unverified bodies.
/// Lambda's application log level, which filters by `level`, can still drop lines before CloudWatch.
pub fn subscriber<W>(writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let levels = Targets::new()
        .with_target("pollo_webhook", LevelFilter::INFO)
        // The panic hook logs the same panic.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF)
        .with_default(LevelFilter::ERROR);
    let lines = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    registry().with(levels).with(lines.with_target(false).with_writer(writer))
}

/// Sets the request id that the line of a panic has. `None` when no invocation is running.
pub fn set_request_id(id: Option<&str>) {
    REQUEST_ID.set(id.map(str::to_owned));
}

/// Logs a panic as one line with its location. The panic's message is omitted, because it could quote the event.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        error!(result = "panic", requestId = REQUEST_ID.take(), location = panic.location().map(field::display));
    }));
}

/// The line of one request. A field that is `None` is not written.
#[derive(Default)]
pub(crate) struct Line<'a> {
    pub result: &'static str,
    pub http_status: u16,
    pub request_id: Option<&'a str>,
    pub webhook_id: Option<&'a str>,
    pub webhook_timestamp: Option<&'a str>,
    pub age_seconds: Option<i64>,
    pub signatures: Option<usize>,
    pub keys: Option<usize>,
    pub task_id: Option<String>,
    pub task_status: Option<String>,
    pub message_id: Option<&'a str>,
    pub sns_milliseconds: Option<u64>,
    pub code: Option<&'a str>,
    pub detail: Option<String>,
    pub body: LoggedBody<'a>,
}

impl Line<'_> {
    pub(crate) fn write(&self, level: Level) {
        // A level is a constant of the call in the code, so each level needs its own call.
        macro_rules! write_with {
            ($macro:ident, $line:expr) => {
                $macro!(
                    result = $line.result,
                    httpStatus = $line.http_status,
                    requestId = $line.request_id.map(short_id),
                    webhookId = $line.webhook_id.map(short_id),
                    taskId = $line.task_id,
                    status = $line.task_status,
                    webhookTimestamp = $line.webhook_timestamp.map(short_id),
                    ageSeconds = $line.age_seconds,
                    signatures = $line.signatures,
                    keys = $line.keys,
                    messageId = $line.message_id.map(short_id),
                    snsMilliseconds = $line.sns_milliseconds,
                    code = $line.code.map(short_id),
                    detail = $line.detail.as_deref().map(|text| shortened(text, MAX_DETAIL_CHARACTERS)),
                    body = $line.body.text,
                    bodyBase64 = $line.body.base64,
                    bodySha256 = $line.body.sha256,
                    bodyBytes = $line.body.bytes,
                )
            };
        }
        match level {
            Level::ERROR => write_with!(error, self),
            Level::WARN => write_with!(warn, self),
            _ => write_with!(info, self),
        }
    }
}

/// What a line has of a body.
#[derive(Default)]
pub(crate) struct LoggedBody<'a> {
    text: Option<&'a str>,
    base64: Option<String>,
    /// Of the text or the Base64, in hexadecimal, so that a replay detects a body that was altered in the log.
    sha256: Option<String>,
    bytes: Option<usize>,
}

impl<'a> LoggedBody<'a> {
    /// Only the size.
    pub(crate) fn size(body: &[u8]) -> Self {
        Self { bytes: Some(body.len()), ..Self::default() }
    }

    /// The whole body if it has at most 30,000 bytes, otherwise the size. The body is text, or Base64 if text would be
    /// unsafe to show in a terminal, or too long for a line.
    pub(crate) fn whole(body: &'a [u8]) -> Self {
        if body.len() > MAX_BODY_BYTES {
            return Self::size(body);
        }
        let sha256 = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let text = str::from_utf8(body).ok().filter(|text| is_readable(text));
        let base64 = text.is_none().then(|| STANDARD.encode(body));
        Self { text, base64, sha256: Some(sha256), bytes: None }
    }
}

fn is_readable(text: &str) -> bool {
    let escaped = text.bytes().filter(|b| matches!(b, b'"' | b'\\' | b'\t' | b'\n' | b'\r')).count();
    text.len() + escaped <= MAX_ESCAPED_BODY_BYTES
        && text.chars().all(|c| is_plain(c) || matches!(c, '\t' | '\n' | '\r'))
}

fn short_id(text: &str) -> &str {
    shortened(text, MAX_ID_CHARACTERS)
}

fn shortened(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}
