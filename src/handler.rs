//! HTTP in, HTTP out. The only place that picks a status, and that writes the log line of a request.

use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::header::{ALLOW, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, RequestExt as _, Response};
use lambda_runtime::tracing::{error, info, warn};
use serde_json::json;

use crate::outcome::{NotAnOutcome, TaskOutcome};
use crate::sns::{self, MAX_MESSAGE_BYTES, PublishError, SnsPublisher};
use crate::webhook::{SignatureMismatch, TimestampError, VerifiedWebhook, Verifier, Webhook, is_plain_text};

const ID: &str = "x-webhook-id";
const TIMESTAMP: &str = "x-webhook-timestamp";
const SIGNATURE: &str = "x-webhook-signature";

/// Seconds after which Pollo may try again when SNS did not take a message.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("30");

/// Longest part of an id that a log line repeats, in characters: the sender of a forged message chooses it.
const MAX_LOGGED_ID_CHARACTERS: usize = 128;

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

/// Why a request did not end in a message on the topic. The text of each is what the sender is told.
#[derive(Debug, thiserror::Error)]
enum Refusal<'a> {
    #[error("only POST is answered here")]
    MethodNotAllowed,
    #[error("message is larger than SNS takes: {MAX_MESSAGE_BYTES} bytes with its attributes")]
    BodyTooLarge,
    #[error("header {0} is missing")]
    HeaderMissing(&'static str),
    #[error("header {0} is unreadable")]
    HeaderUnreadable(&'static str),
    #[error(transparent)]
    NotAuthentic(SignatureMismatch),
    #[error("{error}")]
    NotFresh { webhook: VerifiedWebhook<'a>, error: TimestampError },
    #[error("not a task outcome: {error}")]
    NotAnOutcome { webhook: VerifiedWebhook<'a>, error: NotAnOutcome },
    #[error("message is larger than SNS takes: {MAX_MESSAGE_BYTES} bytes with its attributes")]
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
        let request_id = request.lambda_context_ref().map(|context| context.request_id.as_str());
        let webhook_id = header(request.headers(), ID).ok().map(shortened);
        match self.process(request, now).await {
            Ok(published) => {
                published.log(request_id, webhook_id);
                published.answer()
            }
            Err(refusal) => {
                refusal.log(request_id, webhook_id);
                refusal.answer()
            }
        }
    }

    async fn process<'a>(&self, request: &'a Request, now: SystemTime) -> Result<Published<'a>, Refusal<'a>> {
        if request.method() != Method::POST {
            return Err(Refusal::MethodNotAllowed);
        }
        let body: &[u8] = request.body();
        if body.len() > MAX_MESSAGE_BYTES {
            return Err(Refusal::BodyTooLarge);
        }
        let webhook = Webhook {
            id: header(request.headers(), ID)?,
            timestamp: header(request.headers(), TIMESTAMP)?,
            signature: header(request.headers(), SIGNATURE)?,
            body,
        };
        let webhook = self.verifier.verify(webhook).map_err(Refusal::NotAuthentic)?;
        let fresh =
            self.verifier.check_timestamp(webhook, now).map_err(|error| Refusal::NotFresh { webhook, error })?;
        let outcome = TaskOutcome::parse(fresh).map_err(|error| Refusal::NotAnOutcome { webhook, error })?;
        if sns::size(&outcome) > MAX_MESSAGE_BYTES {
            return Err(Refusal::TooLarge(outcome));
        }
        let start = Instant::now();
        let result = self.publisher.publish(&outcome).await;
        let took = start.elapsed();
        match result {
            Ok(message_id) => Ok(Published { outcome, message_id, took }),
            Err(error) => Err(Refusal::NotPublished { outcome, error, took }),
        }
    }
}

impl Published<'_> {
    fn answer(&self) -> Response<Body> {
        answer(StatusCode::OK, &json!({ "messageId": self.message_id }))
    }

    fn log(&self, request_id: Option<&str>, webhook_id: Option<&str>) {
        info!(
            result = "published",
            httpStatus = StatusCode::OK.as_u16(),
            requestId = request_id,
            webhookId = webhook_id,
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
                TimestampError::OutsideTolerance => (StatusCode::UNAUTHORIZED, "timestamp_outside_tolerance"),
            },
            Self::NotAnOutcome { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not_an_outcome"),
            Self::BodyTooLarge | Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::NotPublished { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not_published"),
        }
    }

    fn answer(&self) -> Response<Body> {
        let mut answer = answer(self.status_and_result().0, &json!({ "error": self.to_string() }));
        match self {
            Self::MethodNotAllowed => drop(answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"))),
            Self::NotPublished { .. } => drop(answer.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS)),
            _ => {}
        }
        answer
    }

    fn log(&self, request_id: Option<&str>, webhook_id: Option<&str>) {
        let (status, result) = self.status_and_result();
        /// The fields of every line, and then those of one.
        macro_rules! line {
            ($level:ident, $($fields:tt)+) => {
                $level!(result, httpStatus = status.as_u16(), requestId = request_id, webhookId = webhook_id, $($fields)+)
            };
        }
        match self {
            Self::MethodNotAllowed
            | Self::BodyTooLarge
            | Self::HeaderMissing(_)
            | Self::HeaderUnreadable(_)
            | Self::NotAuthentic(_) => line!(warn, detail = self.to_string()),
            Self::NotFresh { webhook, .. } => {
                line!(warn, webhookTimestamp = webhook.timestamp(), detail = self.to_string());
            }
            Self::NotAnOutcome { webhook, .. } => {
                // Pollo signed it, and it is kept nowhere else: text as it is, anything else as Base64.
                let text = str::from_utf8(webhook.body()).ok();
                let base64 = text.is_none().then(|| STANDARD.encode(webhook.body()));
                line!(warn, detail = self.to_string(), body = text, bodyBase64 = base64);
            }
            Self::TooLarge(outcome) => {
                line!(warn, taskId = outcome.task_id(), status = outcome.status().as_str(), detail = self.to_string(),)
            }
            Self::NotPublished { outcome, error, took } => line!(
                error,
                taskId = outcome.task_id(),
                status = outcome.status().as_str(),
                snsMilliseconds = milliseconds(*took),
                code = error.code(),
                detail = error.message(),
            ),
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

fn answer(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn shortened(id: &str) -> &str {
    id.char_indices().nth(MAX_LOGGED_ID_CHARACTERS).map_or(id, |(end, _)| &id[..end])
}

fn milliseconds(took: Duration) -> u64 {
    took.as_millis().try_into().unwrap_or(u64::MAX)
}
