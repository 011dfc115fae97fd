//! HTTP in, HTTP out. The only place that picks a status, and that writes the log line of a request.

use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, RequestExt as _, Response};
use serde_json::Value;
use tracing::{error, info, warn};

use crate::outcome::{self, NotAnOutcome, TaskOutcome};
use crate::sns::{PublishError, SnsPublisher};
use crate::webhook::{SignatureMismatch, TimestampError, VerifiedWebhook, Verifier, Webhook, is_plain_text};

const ID: HeaderName = HeaderName::from_static("x-webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-webhook-signature");

/// Longest part of a webhook's id, and of SNS's code and message, that a log line repeats, in characters. Anybody can
/// choose the id of a forged webhook.
const MAX_LOGGED_ID: usize = 128;
const MAX_LOGGED_DETAIL: usize = 1_000;

/// Largest body that a log line repeats. With its quotation marks escaped, the line stays below the 1 MB that CloudWatch
/// Logs takes as one event.
const MAX_LOGGED_BODY_BYTES: usize = 256 * 1024;

/// Responds to Pollo's webhooks.
pub struct Handler {
    verifier: Verifier,
    publisher: SnsPublisher,
}

/// A message that SNS has accepted.
struct Published<'a> {
    outcome: TaskOutcome<'a>,
    message_id: String,
    took: Duration,
}

/// Why a request did not become a message on the topic. The text of each is what the sender is told.
#[derive(Debug, thiserror::Error)]
enum Refusal<'a> {
    #[error("only POST is accepted")]
    MethodNotAllowed,
    #[error("header {0} is missing")]
    HeaderMissing(HeaderName),
    #[error("header {0} is unreadable")]
    HeaderUnreadable(HeaderName),
    // The log alone says what exactly is wrong.
    #[error("signature does not match")]
    NotAuthentic(#[from] SignatureMismatch),
    #[error("{error}")]
    NotFresh { webhook: VerifiedWebhook<'a>, error: TimestampError },
    #[error("not a task outcome: {error}")]
    NotAnOutcome { webhook: VerifiedWebhook<'a>, error: NotAnOutcome },
    #[error("{}", PublishError::TooLarge)]
    TooLarge(VerifiedWebhook<'a>),
    #[error("the outcome could not be published, send it again")]
    NotPublished { webhook: VerifiedWebhook<'a>, error: PublishError, took: Duration },
}

impl Handler {
    /// Verifies webhooks with `verifier` and publishes outcomes through `publisher`.
    pub fn new(verifier: Verifier, publisher: SnsPublisher) -> Self {
        Self { verifier, publisher }
    }

    /// Responds to one request, and writes its log line.
    pub async fn handle(&self, request: &Request) -> Response<Body> {
        self.handle_at(request, SystemTime::now()).await
    }

    /// Responds to one request as if it had arrived at `now`.
    pub async fn handle_at(&self, request: &Request, now: SystemTime) -> Response<Body> {
        let result = self.process(request, now).await;
        let (name, text) = match &result {
            Ok(published) => ("messageId", published.message_id.clone()),
            Err(refusal) => ("error", refusal.to_string()),
        };
        let mut response = Response::new(Body::from(format!("{{\"{name}\":{}}}", Value::from(&*text))));
        *response.status_mut() = log(request, &result, &text);
        let header = match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Some((ALLOW, "POST")),
            StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "30")),
            _ => None,
        };
        for (name, value) in header.into_iter().chain([(CONTENT_TYPE, "application/json")]) {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn process<'a>(&self, request: &'a Request, now: SystemTime) -> Result<Published<'a>, Refusal<'a>> {
        if request.method() != Method::POST {
            return Err(Refusal::MethodNotAllowed);
        }
        let webhook = self.verifier.verify(Webhook {
            id: header(request.headers(), ID)?,
            timestamp: header(request.headers(), TIMESTAMP)?,
            signature: header(request.headers(), SIGNATURE)?,
            body: request.body(),
        })?;
        let fresh = self.verifier.check_timestamp(webhook, now);
        let fresh = fresh.map_err(|error| Refusal::NotFresh { webhook, error })?;
        let outcome = TaskOutcome::parse(fresh).map_err(|error| Refusal::NotAnOutcome { webhook, error })?;
        let start = Instant::now();
        let result = self.publisher.publish(&outcome).await;
        let took = start.elapsed();
        match result {
            Ok(message_id) => Ok(Published { outcome, message_id, took }),
            Err(PublishError::TooLarge) => Err(Refusal::TooLarge(webhook)),
            Err(error) => Err(Refusal::NotPublished { webhook, error, took }),
        }
    }
}

/// Writes the line of a request, and gives the status. Metrics count the `result`. Of an authentic webhook that was not
/// published, the line has everything that is needed to publish it later; of any other, nothing of the body.
fn log(request: &Request, result: &Result<Published<'_>, Refusal<'_>>, text: &str) -> StatusCode {
    let request_id = request.lambda_context_ref().map(|context| context.request_id.as_str());
    let webhook_id = header(request.headers(), ID).ok().map(|id| shortened(id, MAX_LOGGED_ID));
    let bytes = request.body().len();
    macro_rules! line {
        ($level:ident, $status:ident, $result:literal, kept($webhook:expr), $($fields:tt)+) => {{
            let Kept { task_id, status, text, base64, bytes } = Kept::of($webhook);
            line!($level, $status, $result, taskId = task_id, status, webhookTimestamp = $webhook.timestamp(),
                $($fields)+, body = text, bodyBase64 = base64, bodyBytes = bytes)
        }};
        ($level:ident, $status:ident, $result:literal, $($fields:tt)+) => {{
            let status = StatusCode::$status;
            $level!(result = $result, httpStatus = status.as_u16(), requestId = request_id, webhookId = webhook_id,
                $($fields)+);
            status
        }};
    }
    match result {
        Ok(Published { outcome, message_id, took }) => {
            let (task_id, status) = (outcome.task_id(), outcome.status());
            let took = took.as_millis() as u64;
            line!(info, OK, "published", taskId = task_id, status, messageId = message_id, snsMilliseconds = took)
        }
        Err(Refusal::MethodNotAllowed) => {
            line!(warn, METHOD_NOT_ALLOWED, "method_not_allowed", bodyBytes = bytes, detail = text)
        }
        Err(Refusal::HeaderMissing(_)) => {
            line!(warn, BAD_REQUEST, "header_missing", bodyBytes = bytes, detail = text)
        }
        Err(Refusal::HeaderUnreadable(_)) => {
            line!(warn, BAD_REQUEST, "header_unreadable", bodyBytes = bytes, detail = text)
        }
        Err(Refusal::NotAuthentic(error @ SignatureMismatch { signatures, keys })) => {
            let detail = error.to_string();
            line!(warn, UNAUTHORIZED, "signature_mismatch", signatures, keys, bodyBytes = bytes, detail)
        }
        Err(Refusal::NotFresh { webhook, error: TimestampError::Unreadable }) => {
            line!(warn, BAD_REQUEST, "timestamp_unreadable", kept(webhook), detail = text)
        }
        Err(Refusal::NotFresh { webhook, error: TimestampError::OutsideTolerance(age) }) => {
            line!(warn, UNAUTHORIZED, "timestamp_outside_tolerance", kept(webhook), ageSeconds = age, detail = text)
        }
        Err(Refusal::NotAnOutcome { webhook, .. }) => {
            line!(warn, UNPROCESSABLE_ENTITY, "not_an_outcome", kept(webhook), detail = text)
        }
        Err(Refusal::TooLarge(webhook)) => {
            line!(warn, PAYLOAD_TOO_LARGE, "too_large", kept(webhook), detail = text)
        }
        Err(Refusal::NotPublished { webhook, error, took }) => {
            let (code, detail) = (shortened(error.code(), MAX_LOGGED_ID), error.message());
            let (detail, took) = (shortened(&detail, MAX_LOGGED_DETAIL), took.as_millis() as u64);
            line!(error, SERVICE_UNAVAILABLE, "not_published", kept(webhook), snsMilliseconds = took, code, detail)
        }
    }
}

/// What a log line keeps of an authentic webhook: what can be read of the task, and the body as text, as Base64 or, if it
/// is too large for a line, only its size.
#[derive(Default)]
struct Kept<'a> {
    task_id: Option<String>,
    status: Option<String>,
    text: Option<&'a str>,
    base64: Option<String>,
    bytes: Option<usize>,
}

impl<'a> Kept<'a> {
    fn of(webhook: &VerifiedWebhook<'a>) -> Self {
        let (task_id, status) = outcome::task_id_and_status(webhook);
        let kept = Self { task_id, status, ..Self::default() };
        let body = webhook.body();
        if body.len() > MAX_LOGGED_BODY_BYTES {
            return Self { bytes: Some(body.len()), ..kept };
        }
        // JSON escapes other control characters in six bytes, which would make the line too long. No JSON has them.
        let is_short = |text: &&str| text.bytes().all(|b| b >= b' ' || matches!(b, b'\t' | b'\n' | b'\r'));
        match str::from_utf8(body).ok().filter(is_short) {
            Some(text) => Self { text: Some(text), ..kept },
            None => Self { base64: Some(STANDARD.encode(body)), ..kept },
        }
    }
}

/// A header's text as received.
fn header(headers: &HeaderMap, name: HeaderName) -> Result<&str, Refusal<'_>> {
    let value = headers.get(&name).map_or(&[][..], HeaderValue::as_bytes);
    match str::from_utf8(value) {
        Ok("") => Err(Refusal::HeaderMissing(name)),
        Ok(text) if is_plain_text(text) => Ok(text),
        _ => Err(Refusal::HeaderUnreadable(name)),
    }
}

fn shortened(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}
