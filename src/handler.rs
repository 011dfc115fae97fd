//! HTTP in, HTTP out. The only place that picks a status, and that writes the log line of a request.

use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::header::{ALLOW, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, RequestExt as _, Response};
use lambda_runtime::tracing::{error, info, warn};
use serde_json::json;

use crate::outcome::{self, NotAnOutcome, TaskOutcome};
use crate::sns::{PublishError, SnsPublisher};
use crate::webhook::{SignatureMismatch, TimestampError, VerifiedWebhook, Verifier, Webhook, is_plain_text};

const ID: &str = "x-webhook-id";
const TIMESTAMP: &str = "x-webhook-timestamp";
const SIGNATURE: &str = "x-webhook-signature";

/// Seconds after which Pollo may try again when SNS did not accept a message.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("30");

/// Longest part of an id, a code and a detail that a log line repeats, in characters. The sender of a forged webhook
/// chooses the id, and whatever stands in for SNS chooses the others.
const MAX_LOGGED_ID_CHARACTERS: usize = 128;
const MAX_LOGGED_CODE_CHARACTERS: usize = 100;
const MAX_LOGGED_DETAIL_CHARACTERS: usize = 1_000;

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
    HeaderMissing(&'static str),
    #[error("header {0} is unreadable")]
    HeaderUnreadable(&'static str),
    // Nobody but the owner is told what exactly is wrong.
    #[error("signature does not match")]
    NotAuthentic(SignatureMismatch),
    #[error("{error}")]
    NotFresh { webhook: VerifiedWebhook<'a>, error: TimestampError },
    #[error("not a task outcome: {error}")]
    NotAnOutcome { webhook: VerifiedWebhook<'a>, error: NotAnOutcome },
    #[error("{}", PublishError::TooLarge)]
    TooLarge(TaskOutcome<'a>),
    #[error("the outcome could not be published, send it again")]
    NotPublished { outcome: TaskOutcome<'a>, error: PublishError, took: Duration },
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
        match self.process(request, now).await {
            Ok(published) => {
                published.log(request);
                published.response()
            }
            Err(refusal) => {
                refusal.log(request);
                refusal.response()
            }
        }
    }

    async fn process<'a>(&self, request: &'a Request, now: SystemTime) -> Result<Published<'a>, Refusal<'a>> {
        if request.method() != Method::POST {
            return Err(Refusal::MethodNotAllowed);
        }
        let webhook = Webhook {
            id: header(request.headers(), ID)?,
            timestamp: header(request.headers(), TIMESTAMP)?,
            signature: header(request.headers(), SIGNATURE)?,
            body: request.body(),
        };
        let webhook = self.verifier.verify(webhook).map_err(Refusal::NotAuthentic)?;
        let fresh =
            self.verifier.check_timestamp(webhook, now).map_err(|error| Refusal::NotFresh { webhook, error })?;
        let outcome = TaskOutcome::parse(fresh).map_err(|error| Refusal::NotAnOutcome { webhook, error })?;
        let start = Instant::now();
        let result = self.publisher.publish(&outcome).await;
        let took = start.elapsed();
        match result {
            Ok(message_id) => Ok(Published { outcome, message_id, took }),
            Err(PublishError::TooLarge) => Err(Refusal::TooLarge(outcome)),
            Err(error) => Err(Refusal::NotPublished { outcome, error, took }),
        }
    }
}

impl Published<'_> {
    fn response(&self) -> Response<Body> {
        response(StatusCode::OK, &json!({ "messageId": self.message_id }))
    }

    fn log(&self, request: &Request) {
        info!(
            result = "published",
            httpStatus = StatusCode::OK.as_u16(),
            requestId = request_id(request),
            webhookId = webhook_id(request),
            taskId = self.outcome.task_id(),
            status = self.outcome.status().as_str(),
            messageId = self.message_id,
            snsMilliseconds = milliseconds(self.took),
        );
    }
}

impl Refusal<'_> {
    /// The status of the response, and the `result` of the log line that metrics count.
    fn status_and_result(&self) -> (StatusCode, &'static str) {
        match self {
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::HeaderMissing(_) => (StatusCode::BAD_REQUEST, "header_missing"),
            Self::HeaderUnreadable(_) => (StatusCode::BAD_REQUEST, "header_unreadable"),
            Self::NotAuthentic(_) => (StatusCode::UNAUTHORIZED, "signature_mismatch"),
            Self::NotFresh { error, .. } => match error {
                TimestampError::Unreadable => (StatusCode::BAD_REQUEST, "timestamp_unreadable"),
                TimestampError::OutsideTolerance { .. } => (StatusCode::UNAUTHORIZED, "timestamp_outside_tolerance"),
            },
            Self::NotAnOutcome { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not_an_outcome"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::NotPublished { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not_published"),
        }
    }

    fn response(&self) -> Response<Body> {
        let mut response = response(self.status_and_result().0, &json!({ "error": self.to_string() }));
        match self {
            Self::MethodNotAllowed => drop(response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"))),
            Self::NotPublished { .. } => drop(response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS)),
            _ => {}
        }
        response
    }

    /// Of an authentic webhook, the line has everything that is needed to publish it later; of any other, nothing of the
    /// body.
    fn log(&self, request: &Request) {
        let (status, result) = self.status_and_result();
        let bytes = request.body().len();
        /// The fields of every line, and then those of one.
        macro_rules! line {
            ($level:ident, $($fields:tt)+) => {
                $level!(
                    result,
                    httpStatus = status.as_u16(),
                    requestId = request_id(request),
                    webhookId = webhook_id(request),
                    $($fields)+
                )
            };
        }
        match self {
            Self::MethodNotAllowed | Self::HeaderMissing(_) | Self::HeaderUnreadable(_) => {
                line!(warn, bodyBytes = bytes, detail = self.to_string());
            }
            Self::NotAuthentic(mismatch) => line!(
                warn,
                signatures = mismatch.signatures,
                keys = mismatch.keys,
                bodyBytes = bytes,
                detail = mismatch.to_string(),
            ),
            Self::NotFresh { webhook, error } => {
                let (task_id, task_status) = outcome::task_id_and_status(webhook);
                let body = LoggedBody::of(webhook);
                let age_seconds = match error {
                    TimestampError::OutsideTolerance { age_seconds } => Some(*age_seconds),
                    TimestampError::Unreadable => None,
                };
                line!(
                    warn,
                    taskId = task_id,
                    status = task_status,
                    webhookTimestamp = webhook.timestamp(),
                    ageSeconds = age_seconds,
                    detail = self.to_string(),
                    body = body.text,
                    bodyBase64 = body.base64,
                    bodyBytes = body.bytes,
                );
            }
            Self::NotAnOutcome { webhook, .. } => {
                let (task_id, task_status) = outcome::task_id_and_status(webhook);
                let body = LoggedBody::of(webhook);
                line!(
                    warn,
                    taskId = task_id,
                    status = task_status,
                    detail = self.to_string(),
                    body = body.text,
                    bodyBase64 = body.base64,
                    bodyBytes = body.bytes,
                );
            }
            Self::TooLarge(outcome) => line!(
                warn,
                taskId = outcome.task_id(),
                status = outcome.status().as_str(),
                detail = self.to_string(),
                bodyBytes = bytes,
            ),
            Self::NotPublished { outcome, error, took } => {
                let body = LoggedBody::of(&outcome.webhook());
                line!(
                    error,
                    taskId = outcome.task_id(),
                    status = outcome.status().as_str(),
                    snsMilliseconds = milliseconds(*took),
                    code = shortened(error.code(), MAX_LOGGED_CODE_CHARACTERS),
                    detail = shortened(&error.message(), MAX_LOGGED_DETAIL_CHARACTERS),
                    body = body.text,
                    bodyBase64 = body.base64,
                    bodyBytes = body.bytes,
                );
            }
        }
    }
}

/// A body as a log line has it: as text, as Base64, or, if it is too large for a line, only its size.
#[derive(Default)]
struct LoggedBody<'a> {
    text: Option<&'a str>,
    base64: Option<String>,
    bytes: Option<usize>,
}

impl<'a> LoggedBody<'a> {
    fn of(webhook: &VerifiedWebhook<'a>) -> Self {
        let body = webhook.body();
        if body.len() > MAX_LOGGED_BODY_BYTES {
            return Self { bytes: Some(body.len()), ..Self::default() };
        }
        // JSON escapes other control characters in six bytes, which would make the line too long. No JSON has them.
        let is_short = |text: &&str| text.bytes().all(|b| b >= b' ' || matches!(b, b'\t' | b'\n' | b'\r'));
        match str::from_utf8(body).ok().filter(is_short) {
            Some(text) => Self { text: Some(text), ..Self::default() },
            None => Self { base64: Some(STANDARD.encode(body)), ..Self::default() },
        }
    }
}

/// A header's text as received.
fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Refusal<'a>> {
    let value = headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    match str::from_utf8(value) {
        Ok("") => Err(Refusal::HeaderMissing(name)),
        Ok(text) if is_plain_text(text) => Ok(text),
        _ => Err(Refusal::HeaderUnreadable(name)),
    }
}

fn request_id(request: &Request) -> Option<&str> {
    request.lambda_context_ref().map(|context| context.request_id.as_str())
}

fn webhook_id(request: &Request) -> Option<&str> {
    header(request.headers(), ID).ok().map(|id| shortened(id, MAX_LOGGED_ID_CHARACTERS))
}

fn response(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn shortened(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

fn milliseconds(took: Duration) -> u64 {
    took.as_millis().try_into().unwrap_or(u64::MAX)
}
