//! HTTP in, HTTP out. The only place that picks a status, and that writes the log line of a request.

use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::header::{ALLOW, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, RequestExt as _, Response};
use lambda_runtime::tracing::{error, info, warn};
use serde_json::json;

use crate::outcome::{MAX_MESSAGE_BYTES, NotAnOutcome, TaskOutcome, is_attribute_character};
use crate::publisher::{PublishError, SnsPublisher};
use crate::signature::{SignatureError, VerifiedWebhook, Verifier, Webhook};

const ID: &str = "x-webhook-id";
const TIMESTAMP: &str = "x-webhook-timestamp";
const SIGNATURE: &str = "x-webhook-signature";

/// Seconds after which Pollo may try again when SNS did not take a message.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("30");

/// Longest part of an id that a log line repeats, in characters: the sender of a forged message chooses it.
const MAX_LOGGED_ID_CHARACTERS: usize = 128;

/// Answers Pollo's webhooks.
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
    TooLarge { outcome: Option<TaskOutcome<'a>> },
    #[error("header {0} is missing")]
    HeaderMissing(&'static str),
    #[error("header {0} is unreadable")]
    HeaderUnreadable(&'static str),
    #[error("{error}")]
    NotVerified { timestamp: &'a str, error: SignatureError },
    #[error("not a task outcome: {error}")]
    NotAnOutcome { webhook: VerifiedWebhook<'a>, error: NotAnOutcome },
    #[error("the outcome could not be published, send it again")]
    NotPublished { outcome: TaskOutcome<'a>, error: PublishError, took: Duration },
}

impl Handler {
    /// Holds messages against `verifier` and publishes outcomes through `publisher`.
    pub fn new(verifier: Verifier, publisher: SnsPublisher) -> Self {
        Self { verifier, publisher }
    }

    /// Answers one request. See the [table of answers](crate#answers).
    pub async fn handle(&self, request: &Request) -> Response<Body> {
        self.handle_at(request, SystemTime::now()).await
    }

    /// Answers one request as if it had come in at `now`.
    pub async fn handle_at(&self, request: &Request, now: SystemTime) -> Response<Body> {
        let request_id = request.lambda_context_ref().map(|context| context.request_id.as_str());
        let webhook_id = header(request.headers(), ID).ok().map(shortened);
        match self.publish(request, now).await {
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

    async fn publish<'a>(&self, request: &'a Request, now: SystemTime) -> Result<Published<'a>, Refusal<'a>> {
        if request.method() != Method::POST {
            return Err(Refusal::MethodNotAllowed);
        }
        let body: &[u8] = request.body();
        if body.len() > MAX_MESSAGE_BYTES {
            return Err(Refusal::TooLarge { outcome: None });
        }
        let webhook = Webhook {
            id: header(request.headers(), ID)?,
            timestamp: header(request.headers(), TIMESTAMP)?,
            signature: header(request.headers(), SIGNATURE)?,
            body,
        };
        let webhook = self
            .verifier
            .verify(webhook, now)
            .map_err(|error| Refusal::NotVerified { timestamp: webhook.timestamp, error })?;
        let outcome = TaskOutcome::parse(webhook).map_err(|error| Refusal::NotAnOutcome { webhook, error })?;
        if outcome.size() > MAX_MESSAGE_BYTES {
            return Err(Refusal::TooLarge { outcome: Some(outcome) });
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
    /// The status of the answer, and the `result` of the log line that metrics count.
    fn end(&self) -> (StatusCode, &'static str) {
        match self {
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::HeaderMissing(_) => (StatusCode::BAD_REQUEST, "header_missing"),
            Self::HeaderUnreadable(_) => (StatusCode::BAD_REQUEST, "header_unreadable"),
            Self::NotVerified { error, .. } => match error {
                SignatureError::Mismatch => (StatusCode::UNAUTHORIZED, "signature_mismatch"),
                SignatureError::OutsideTolerance => (StatusCode::UNAUTHORIZED, "timestamp_outside_tolerance"),
                SignatureError::TimestampUnreadable => (StatusCode::BAD_REQUEST, "timestamp_unreadable"),
            },
            Self::NotAnOutcome { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not_an_outcome"),
            Self::NotPublished { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not_published"),
        }
    }

    fn answer(&self) -> Response<Body> {
        let mut answer = answer(self.end().0, &json!({ "error": self.to_string() }));
        match self {
            Self::MethodNotAllowed => drop(answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"))),
            Self::NotPublished { .. } => drop(answer.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS)),
            _ => {}
        }
        answer
    }

    fn log(&self, request_id: Option<&str>, webhook_id: Option<&str>) {
        let (http_status, result) = self.end();
        let outcome = match self {
            Self::TooLarge { outcome } => outcome.as_ref(),
            Self::NotPublished { outcome, .. } => Some(outcome),
            _ => None,
        };
        let task_id = outcome.map(TaskOutcome::task_id);
        let status = outcome.map(|outcome| outcome.status().as_str());
        if let Self::NotPublished { error, took, .. } = self {
            error!(
                result,
                httpStatus = http_status.as_u16(),
                requestId = request_id,
                webhookId = webhook_id,
                taskId = task_id,
                status,
                snsMilliseconds = milliseconds(*took),
                code = error.code(),
                detail = error.message(),
            );
            return;
        }
        // A timestamp is spoken of only where the signature has proved it.
        let timestamp = match self {
            Self::NotVerified { timestamp, error } if *error != SignatureError::Mismatch => Some(*timestamp),
            _ => None,
        };
        // Pollo signed it, and it is kept nowhere else: text as it is, anything else as Base64.
        let body = match self {
            Self::NotAnOutcome { webhook, .. } => Some(webhook.body()),
            _ => None,
        };
        let text = body.and_then(|body| str::from_utf8(body).ok());
        let base64 = body.filter(|_| text.is_none()).map(|body| STANDARD.encode(body));
        warn!(
            result,
            httpStatus = http_status.as_u16(),
            requestId = request_id,
            webhookId = webhook_id,
            taskId = task_id,
            status,
            webhookTimestamp = timestamp,
            detail = self.to_string(),
            body = text,
            bodyBase64 = base64,
        );
    }
}

/// A header's text as received. A value is readable if SNS would take it as an attribute.
fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Refusal<'a>> {
    let value = headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    match str::from_utf8(value) {
        Ok("") => Err(Refusal::HeaderMissing(name)),
        Ok(text) if text.chars().all(is_attribute_character) => Ok(text),
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
