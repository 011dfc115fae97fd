//! The log: one JSON object per line on standard output, which Lambda sends to CloudWatch.
//!
//! No line is longer than 65,536 bytes. Lambda can cut a longer line, and a line that is cut is not JSON: no metric
//! counts it, no alarm fires, and nothing can be replayed.

use std::cell::RefCell;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lambda_runtime::tracing::subscriber::filter::{LevelFilter, Targets};
use lambda_runtime::tracing::subscriber::fmt::MakeWriter;
use lambda_runtime::tracing::subscriber::layer::SubscriberExt as _;
use lambda_runtime::tracing::subscriber::{fmt, registry};
use sha2::{Digest as _, Sha256};
use tracing::{Subscriber, error, field};

use crate::outcome::is_plain;

/// Most characters of an id, a timestamp or a code in a line. A forged webhook's id can have any length.
const MAX_ID_CHARACTERS: usize = 128;
/// Most characters of a `detail` in a line.
const MAX_DETAIL_CHARACTERS: usize = 1_000;
/// Largest body in a line, in bytes. Pollo's bodies seen in public have up to 5 KB.
const MAX_BODY_BYTES: usize = 30_000;
/// Largest body in a line after JSON has escaped it, in bytes. All other fields together have at most 12,000.
const MAX_ESCAPED_BODY_BYTES: usize = 50_000;

thread_local! {
    /// The id of the invocation that is running. The runtime has one thread, and handles one invocation at a time.
    static REQUEST_ID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Writes the function's lines from INFO up and the libraries' errors, each as one flat JSON object.
///
/// The levels are fixed, because at lower levels the libraries print whole events, signatures and unverified bodies.
/// Lambda's application log level, which filters by `level`, can still drop lines before CloudWatch.
pub fn subscriber(writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> impl Subscriber + Send + Sync {
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

/// What the line of an authentic webhook that is not published has of its body.
#[derive(Default)]
pub(crate) struct LoggedBody<'a> {
    pub text: Option<&'a str>,
    /// Instead of the text, if the text would be unsafe to show in a terminal, or too long for a line.
    pub base64: Option<String>,
    /// In hexadecimal, so that a replay detects a body that was altered in the log.
    pub sha256: Option<String>,
    /// Instead of a body of more than 30,000 bytes.
    pub bytes: Option<usize>,
}

impl<'a> LoggedBody<'a> {
    pub(crate) fn of(body: &'a [u8]) -> Self {
        if body.len() > MAX_BODY_BYTES {
            return Self { bytes: Some(body.len()), ..Self::default() };
        }
        let text = str::from_utf8(body).ok().filter(|text| {
            let escaped = text.bytes().filter(|b| matches!(b, b'"' | b'\\' | b'\t' | b'\n' | b'\r')).count();
            text.len() + escaped <= MAX_ESCAPED_BODY_BYTES
                && text.chars().all(|c| is_plain(c) || matches!(c, '\t' | '\n' | '\r'))
        });
        let base64 = text.is_none().then(|| STANDARD.encode(body));
        let sha256 = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, base64, sha256: Some(sha256), bytes: None }
    }
}

pub(crate) fn short_id(text: &str) -> &str {
    shortened(text, MAX_ID_CHARACTERS)
}

pub(crate) fn short_detail(text: &str) -> &str {
    shortened(text, MAX_DETAIL_CHARACTERS)
}

fn shortened(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}
