//! Handles a request: picks the status of the response and the name of the result. No other module does either.

use std::time::{Duration, Instant, SystemTime};

use lambda_http::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, RequestExt as _, Response};
use serde_json::Value;
use tracing::{error, info, warn};

use crate::log::{LoggedBody, short_detail, short_id};
use crate::outcome::{Fields, OutcomeError, TaskOutcome, is_plain};
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
    sns_milliseconds: u64,
}

/// Why a request was not published. The response contains the text.
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
    NotAuthentic(#[from] SignatureError),
    /// The log has everything that is needed to publish the outcome later.
    #[error("{reason}")]
    NotPublished { webhook: VerifiedWebhook<'a>, reason: Reason },
}

/// Why an authentic webhook was not published.
#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("{0}")]
    Timestamp(TimestampError),
    #[error("not a task outcome: {0}")]
    Outcome(OutcomeError),
    #[error("{error}")]
    Publish { error: PublishError, sns_milliseconds: u64 },
}

impl Handler {
    /// Verifies webhooks with `verifier` and publishes outcomes through `publisher`.
    pub fn new(verifier: Verifier, publisher: SnsPublisher) -> Self {
        Self { verifier, publisher }
    }

    /// Responds to one request that has arrived at `now`, and writes its log line.
    pub async fn handle(&self, request: &Request, now: SystemTime) -> Response<Body> {
        let result = self.process(request, now).await;
        let (status, name) = verdict(&result);
        write_line(request, &result, status, name);
        let (field, text) = match result {
            Ok(published) => ("messageId", published.message_id),
            Err(rejection) => ("error", rejection.to_string()),
        };
        let mut response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response = response.header(ALLOW, "POST");
        } else if status == StatusCode::SERVICE_UNAVAILABLE {
            response = response.header(RETRY_AFTER, "30");
        }
        let body = format!("{{\"{field}\":{}}}", Value::from(text));
        response.body(Body::from(body)).expect("the headers are valid")
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
        let rejected = |reason| Rejection::NotPublished { webhook, reason };
        let fresh = self.verifier.check_timestamp(webhook, now).map_err(|error| rejected(Reason::Timestamp(error)))?;
        let outcome = TaskOutcome::parse(fresh).map_err(|error| rejected(Reason::Outcome(error)))?;
        let start = Instant::now();
        let result = self.publisher.publish(&outcome, time_to_publish(request, now)).await;
        let sns_milliseconds = start.elapsed().as_millis() as u64;
        match result {
            Ok(message_id) => Ok(Published { outcome, message_id, sns_milliseconds }),
            Err(error) => Err(rejected(Reason::Publish { error, sns_milliseconds })),
        }
    }
}

/// How long SNS may take, in the time that is left of the invocation. On Lambda, an invocation never starts after its
/// deadline. The emulator of cargo-lambda sends a deadline in 1970, so a deadline in the past counts as none.
fn time_to_publish(request: &Request, now: SystemTime) -> Duration {
    let left = request.lambda_context_ref().and_then(|context| context.deadline().duration_since(now).ok());
    left.map_or(PUBLISH_TIMEOUT, |left| left.saturating_sub(TIME_TO_RESPOND))
}

/// The status of the response, and the name of the result in the log. Metric filters, alarms and `make replay` read the
/// names.
fn verdict(result: &Result<Published<'_>, Rejection<'_>>) -> (StatusCode, &'static str) {
    match result {
        Ok(_) => (StatusCode::OK, "published"),
        Err(Rejection::MethodNotAllowed) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        Err(Rejection::HeaderMissing(_)) => (StatusCode::BAD_REQUEST, "header_missing"),
        Err(Rejection::HeaderUnreadable(_)) => (StatusCode::BAD_REQUEST, "header_unreadable"),
        Err(Rejection::NotAuthentic(_)) => (StatusCode::UNAUTHORIZED, "signature_mismatch"),
        Err(Rejection::NotPublished { reason, .. }) => match reason {
            Reason::Timestamp(TimestampError::Unreadable) => (StatusCode::BAD_REQUEST, "timestamp_unreadable"),
            Reason::Timestamp(TimestampError::OutsideTolerance { .. }) => {
                (StatusCode::UNAUTHORIZED, "timestamp_outside_tolerance")
            }
            Reason::Outcome(_) => (StatusCode::UNPROCESSABLE_ENTITY, "not_an_outcome"),
            Reason::Publish { error: PublishError::TooLarge, .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Reason::Publish { error: PublishError::NotAccepted { .. }, .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "not_published")
            }
        },
    }
}

/// Writes the log line of a request. If the webhook is not authentic, the line contains nothing of the body.
fn write_line(request: &Request, result: &Result<Published<'_>, Rejection<'_>>, status: StatusCode, name: &str) {
    let request_id = request.lambda_context_ref().map(|context| short_id(&context.request_id));
    let webhook_id = header(request.headers(), ID).ok().map(short_id);
    match result {
        Ok(Published { outcome, message_id, sns_milliseconds }) => info!(
            result = name, httpStatus = status.as_u16(), requestId = request_id, webhookId = webhook_id,
            taskId = %outcome.task_id(), status = outcome.status().as_str(),
            webhookTimestamp = short_id(outcome.webhook().timestamp), messageId = short_id(message_id),
            snsMilliseconds = sns_milliseconds,
        ),
        Err(Rejection::NotPublished { webhook, reason }) => {
            let Fields { task_id, status: task_status, .. } = Fields::read(webhook.body).unwrap_or_default();
            let (age, sns_milliseconds, code, detail) = match reason {
                Reason::Timestamp(TimestampError::OutsideTolerance { age_seconds }) => {
                    (Some(*age_seconds), None, None, reason.to_string())
                }
                Reason::Publish { error: PublishError::NotAccepted { code, detail }, sns_milliseconds } => {
                    (None, Some(*sns_milliseconds), Some(short_id(code)), detail.clone())
                }
                _ => (None, None, None, reason.to_string()),
            };
            let LoggedBody { text, base64, sha256, bytes } = LoggedBody::of(webhook.body);
            // An error, because Lambda's application log level can drop lower levels, and nothing else has the outcome.
            error!(
                result = name, httpStatus = status.as_u16(), requestId = request_id, webhookId = webhook_id,
                taskId = task_id, status = task_status, webhookTimestamp = short_id(webhook.timestamp), ageSeconds = age,
                snsMilliseconds = sns_milliseconds, code, detail = %short_detail(&detail),
                body = text, bodyBase64 = base64, bodySha256 = sha256, bodyBytes = bytes,
            );
        }
        Err(Rejection::NotAuthentic(error @ SignatureError { signatures, keys })) => warn!(
            result = name, httpStatus = status.as_u16(), requestId = request_id, webhookId = webhook_id,
            signatures, keys, detail = %error, bodyBytes = request.body().len(),
        ),
        Err(rejection) => warn!(
            result = name, httpStatus = status.as_u16(), requestId = request_id, webhookId = webhook_id,
            detail = %rejection, bodyBytes = request.body().len(),
        ),
    }
}

/// A header's text as received.
fn header(headers: &HeaderMap, name: HeaderName) -> Result<&str, Rejection<'_>> {
    let value = headers.get(&name).map_or(&[][..], HeaderValue::as_bytes);
    match str::from_utf8(value) {
        Ok("") => Err(Rejection::HeaderMissing(name)),
        Ok(text) if text.chars().all(is_plain) => Ok(text),
        _ => Err(Rejection::HeaderUnreadable(name)),
    }
}
