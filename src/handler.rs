//! Handles a request: picks the status of the response and the name of the result. No other module does either.

use std::time::{Duration, Instant, SystemTime};

use lambda_http::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, RequestExt as _, Response};
use serde_json::Value;
use tracing::Level;

use crate::log::{Line, LoggedBody};
use crate::outcome::{self, OutcomeError, TaskOutcome, is_plain_text};
use crate::sns::{PUBLISH_TIMEOUT, PublishError, SnsPublisher};
use crate::webhook::{SignatureError, TimestampError, VerifiedWebhook, Verifier, Webhook};

const ID: HeaderName = HeaderName::from_static("x-webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-webhook-signature");

/// The part of an invocation's time that is left for the log line and the response. Lambda kills a function at its
/// deadline, and the log then has nothing of the webhook.
const TIME_TO_RESPOND: Duration = Duration::from_millis(500);

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

/// Why a request was not published. The text is for the response.
#[derive(Debug, thiserror::Error)]
enum Rejection<'a> {
    /// The log contains nothing of the body.
    #[error(transparent)]
    NotAuthentic(#[from] NotAuthentic),
    /// The log contains everything that is needed to publish the outcome later.
    #[error("{reason}")]
    Authentic { webhook: VerifiedWebhook<'a>, reason: NotPublished },
}

/// Why a request is not an authentic webhook.
#[derive(Debug, thiserror::Error)]
enum NotAuthentic {
    #[error("only POST is accepted")]
    MethodNotAllowed,
    #[error("header {0} is missing")]
    HeaderMissing(HeaderName),
    #[error("header {0} is unreadable")]
    HeaderUnreadable(HeaderName),
    // Only the log has the details. An attacker could learn from them.
    #[error("signature does not match")]
    Signature(#[from] SignatureError),
}

/// Why an authentic webhook was not published.
#[derive(Debug, thiserror::Error)]
enum NotPublished {
    #[error(transparent)]
    Timestamp(#[from] TimestampError),
    #[error("not a task outcome: {0}")]
    Outcome(#[from] OutcomeError),
    // Only the log has the details of a failure, which can name the topic or the role.
    #[error("{}", match error {
        PublishError::TooLarge => error.to_string(),
        _ => "the outcome could not be published, send it again".to_owned(),
    })]
    Publish { error: PublishError, took: Duration },
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
        let (status, level, name) = verdict(&result);
        line(request, &result, status, name).write(level);
        let (field, text) = match result {
            Ok(published) => ("messageId", published.message_id),
            Err(rejection) => ("error", rejection.to_string()),
        };
        let mut response = Response::new(Body::from(format!("{{\"{field}\":{}}}", Value::from(text))));
        *response.status_mut() = status;
        let header = match status {
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
        let webhook = self.verify(request)?;
        let published = self.publish(webhook, now, time_to_publish(request, now)).await;
        published.map_err(|reason| Rejection::Authentic { webhook, reason })
    }

    fn verify<'a>(&self, request: &'a Request) -> Result<VerifiedWebhook<'a>, NotAuthentic> {
        if request.method() != Method::POST {
            return Err(NotAuthentic::MethodNotAllowed);
        }
        let headers = request.headers();
        Ok(self.verifier.verify(Webhook {
            id: header(headers, ID)?,
            timestamp: header(headers, TIMESTAMP)?,
            signature: header(headers, SIGNATURE)?,
            body: request.body(),
        })?)
    }

    async fn publish<'a>(
        &self,
        webhook: VerifiedWebhook<'a>,
        now: SystemTime,
        limit: Duration,
    ) -> Result<Published<'a>, NotPublished> {
        let outcome = TaskOutcome::parse(self.verifier.check_timestamp(webhook, now)?)?;
        let start = Instant::now();
        let result = self.publisher.publish(&outcome, limit).await;
        let took = start.elapsed();
        match result {
            Ok(message_id) => Ok(Published { outcome, message_id, took }),
            Err(error) => Err(NotPublished::Publish { error, took }),
        }
    }
}

/// How long SNS may take, in the time that is left of the invocation. On Lambda, an invocation never starts after its
/// deadline. The emulator of cargo-lambda sends a deadline in 1970, so a deadline in the past counts as none.
fn time_to_publish(request: &Request, now: SystemTime) -> Duration {
    let left = request.lambda_context_ref().and_then(|context| context.deadline().duration_since(now).ok());
    left.map_or(PUBLISH_TIMEOUT, |left| left.saturating_sub(TIME_TO_RESPOND))
}

/// The status of the response, and the level and the name of the log line. Metric filters, alarms and `make replay`
/// read the names.
fn verdict(result: &Result<Published<'_>, Rejection<'_>>) -> (StatusCode, Level, &'static str) {
    let rejection = match result {
        Ok(_) => return (StatusCode::OK, Level::INFO, "published"),
        Err(rejection) => rejection,
    };
    match rejection {
        Rejection::NotAuthentic(reason) => match reason {
            NotAuthentic::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, Level::WARN, "method_not_allowed"),
            NotAuthentic::HeaderMissing(_) => (StatusCode::BAD_REQUEST, Level::WARN, "header_missing"),
            NotAuthentic::HeaderUnreadable(_) => (StatusCode::BAD_REQUEST, Level::WARN, "header_unreadable"),
            NotAuthentic::Signature(_) => (StatusCode::UNAUTHORIZED, Level::WARN, "signature_mismatch"),
        },
        Rejection::Authentic { reason, .. } => match reason {
            NotPublished::Timestamp(TimestampError::Unreadable) => {
                (StatusCode::BAD_REQUEST, Level::WARN, "timestamp_unreadable")
            }
            NotPublished::Timestamp(TimestampError::OutsideTolerance { .. }) => {
                (StatusCode::UNAUTHORIZED, Level::WARN, "timestamp_outside_tolerance")
            }
            NotPublished::Outcome(_) => (StatusCode::UNPROCESSABLE_ENTITY, Level::WARN, "not_an_outcome"),
            NotPublished::Publish { error: PublishError::TooLarge, .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, Level::WARN, "too_large")
            }
            NotPublished::Publish { .. } => (StatusCode::SERVICE_UNAVAILABLE, Level::ERROR, "not_published"),
        },
    }
}

/// The log line of a request.
fn line<'a>(
    request: &'a Request,
    result: &'a Result<Published<'_>, Rejection<'_>>,
    status: StatusCode,
    name: &'static str,
) -> Line<'a> {
    let line = Line {
        result: name,
        http_status: status.as_u16(),
        request_id: request.lambda_context_ref().map(|context| context.request_id.as_str()),
        webhook_id: header(request.headers(), ID).ok(),
        ..Line::default()
    };
    match result {
        Ok(Published { outcome, message_id, took }) => Line {
            webhook_timestamp: Some(outcome.webhook_timestamp()),
            task_id: Some(outcome.task_id().to_owned()),
            task_status: Some(outcome.status().as_str().to_owned()),
            message_id: Some(message_id),
            sns_milliseconds: Some(took.as_millis() as u64),
            ..line
        },
        Err(Rejection::NotAuthentic(reason)) => {
            let line = Line { body: LoggedBody::size(request.body()), detail: Some(reason.to_string()), ..line };
            match reason {
                NotAuthentic::Signature(error) => Line {
                    signatures: Some(error.signatures),
                    keys: Some(error.keys),
                    detail: Some(error.to_string()),
                    ..line
                },
                _ => line,
            }
        }
        Err(Rejection::Authentic { webhook, reason }) => {
            let (task_id, task_status) = outcome::task_id_and_status(webhook);
            let line = Line {
                webhook_timestamp: Some(webhook.timestamp()),
                task_id,
                task_status,
                detail: Some(reason.to_string()),
                body: LoggedBody::whole(webhook.body()),
                ..line
            };
            match reason {
                NotPublished::Timestamp(TimestampError::OutsideTolerance { age_seconds }) => {
                    Line { age_seconds: Some(*age_seconds), ..line }
                }
                NotPublished::Timestamp(TimestampError::Unreadable)
                | NotPublished::Outcome(_)
                | NotPublished::Publish { error: PublishError::TooLarge, .. } => line,
                NotPublished::Publish { error, took } => Line {
                    sns_milliseconds: Some(took.as_millis() as u64),
                    code: Some(error.code()),
                    detail: Some(error.detail()),
                    ..line
                },
            }
        }
    }
}

/// A header's text as received.
fn header(headers: &HeaderMap, name: HeaderName) -> Result<&str, NotAuthentic> {
    let value = headers.get(&name).map_or(&[][..], HeaderValue::as_bytes);
    match str::from_utf8(value) {
        Ok("") => Err(NotAuthentic::HeaderMissing(name)),
        Ok(text) if is_plain_text(text) => Ok(text),
        _ => Err(NotAuthentic::HeaderUnreadable(name)),
    }
}
