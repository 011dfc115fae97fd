//! Handles a request: picks the status of the response and writes the log line. No other module does either.

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

/// Most characters of a webhook's id or of SNS's error code in a log line. A forged webhook's id can have any length.
const MAX_LOGGED_ID: usize = 128;
/// Most characters of SNS's error message in a log line.
const MAX_LOGGED_DETAIL: usize = 1_000;

/// Largest body in a log line, in bytes. Even with every quotation mark escaped, the line stays below 1 MB, the limit
/// of a CloudWatch Logs event.
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

/// Why a request was not published. The response contains the error text.
#[derive(Debug, thiserror::Error)]
enum Rejection<'a> {
    #[error("only POST is accepted")]
    MethodNotAllowed,
    #[error("header {0} is missing")]
    HeaderMissing(HeaderName),
    #[error("header {0} is unreadable")]
    HeaderUnreadable(HeaderName),
    // Only the log has the details. An attacker could learn from them.
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
            Err(rejection) => ("error", rejection.to_string()),
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

    async fn process<'a>(&self, request: &'a Request, now: SystemTime) -> Result<Published<'a>, Rejection<'a>> {
        if request.method() != Method::POST {
            return Err(Rejection::MethodNotAllowed);
        }
        let webhook = self.verifier.verify(Webhook {
            id: header(request.headers(), ID)?,
            timestamp: header(request.headers(), TIMESTAMP)?,
            signature: header(request.headers(), SIGNATURE)?,
            body: request.body(),
        })?;
        let fresh = self.verifier.check_timestamp(webhook, now);
        let fresh = fresh.map_err(|error| Rejection::NotFresh { webhook, error })?;
        let outcome = TaskOutcome::parse(fresh).map_err(|error| Rejection::NotAnOutcome { webhook, error })?;
        let start = Instant::now();
        let result = self.publisher.publish(&outcome).await;
        let took = start.elapsed();
        match result {
            Ok(message_id) => Ok(Published { outcome, message_id, took }),
            Err(PublishError::TooLarge) => Err(Rejection::TooLarge(webhook)),
            Err(error) => Err(Rejection::NotPublished { webhook, error, took }),
        }
    }
}

/// Writes the log line of a request, and returns the status. Metrics count `result`. If an authentic webhook was not
/// published, its line has everything that a replay needs. Other lines contain nothing of the body.
fn log(request: &Request, result: &Result<Published<'_>, Rejection<'_>>, text: &str) -> StatusCode {
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
        Err(Rejection::MethodNotAllowed) => {
            line!(warn, METHOD_NOT_ALLOWED, "method_not_allowed", bodyBytes = bytes, detail = text)
        }
        Err(Rejection::HeaderMissing(_)) => {
            line!(warn, BAD_REQUEST, "header_missing", bodyBytes = bytes, detail = text)
        }
        Err(Rejection::HeaderUnreadable(_)) => {
            line!(warn, BAD_REQUEST, "header_unreadable", bodyBytes = bytes, detail = text)
        }
        Err(Rejection::NotAuthentic(error @ SignatureMismatch { signatures, keys })) => {
            let detail = error.to_string();
            line!(warn, UNAUTHORIZED, "signature_mismatch", signatures, keys, bodyBytes = bytes, detail)
        }
        Err(Rejection::NotFresh { webhook, error: TimestampError::Unreadable }) => {
            line!(warn, BAD_REQUEST, "timestamp_unreadable", kept(webhook), detail = text)
        }
        Err(Rejection::NotFresh { webhook, error: TimestampError::OutsideTolerance(age) }) => {
            line!(warn, UNAUTHORIZED, "timestamp_outside_tolerance", kept(webhook), ageSeconds = age, detail = text)
        }
        Err(Rejection::NotAnOutcome { webhook, .. }) => {
            line!(warn, UNPROCESSABLE_ENTITY, "not_an_outcome", kept(webhook), detail = text)
        }
        Err(Rejection::TooLarge(webhook)) => {
            line!(warn, PAYLOAD_TOO_LARGE, "too_large", kept(webhook), detail = text)
        }
        Err(Rejection::NotPublished { webhook, error, took }) => {
            let (code, detail) = (shortened(error.code(), MAX_LOGGED_ID), error.message());
            let (detail, took) = (shortened(&detail, MAX_LOGGED_DETAIL), took.as_millis() as u64);
            line!(error, SERVICE_UNAVAILABLE, "not_published", kept(webhook), snsMilliseconds = took, code, detail)
        }
    }
}

/// The log fields that a replay needs: the task, as far as it is readable, and the body as text or Base64. If the body
/// is too large for a log line, only its size.
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
        // The log line escapes other control characters as six bytes and could get too long. Valid JSON has none.
        let is_short = |text: &&str| text.bytes().all(|b| b >= b' ' || matches!(b, b'\t' | b'\n' | b'\r'));
        match str::from_utf8(body).ok().filter(is_short) {
            Some(text) => Self { text: Some(text), ..kept },
            None => Self { base64: Some(STANDARD.encode(body)), ..kept },
        }
    }
}

/// A header's text as received.
fn header(headers: &HeaderMap, name: HeaderName) -> Result<&str, Rejection<'_>> {
    let value = headers.get(&name).map_or(&[][..], HeaderValue::as_bytes);
    match str::from_utf8(value) {
        Ok("") => Err(Rejection::HeaderMissing(name)),
        Ok(text) if is_plain_text(text) => Ok(text),
        _ => Err(Rejection::HeaderUnreadable(name)),
    }
}

fn shortened(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}
