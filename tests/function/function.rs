//! Runs the function with a configuration and a fake SNS, and captures its log.

use std::env::VarError;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use lambda_http::http::HeaderMap;
use lambda_http::{Context, RequestExt as _};
use lambda_runtime::tracing::instrument::WithSubscriber as _;
use lambda_runtime::tracing::subscriber::fmt::MakeWriter as _;
use pollo_webhook::log::subscriber;
use pollo_webhook::{Config, Handler, SnsPublisher};
use serde_json::Value;

use crate::pollo::{KEY, now};
use crate::sns::{Reply, Sns};

pub struct Function {
    handler: Handler,
    topic: String,
    pub sns: Sns,
}

/// The response to an event, and its log line.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    /// The request's log line, without its time.
    pub log: Value,
    pub took: Duration,
}

impl Function {
    /// Uses the key of the sample events, the default tolerance and a standard topic.
    pub async fn start(replies: &[Reply]) -> Self {
        Self::with(replies, &[]).await
    }

    /// Adds these variables to the default ones. They override defaults of the same name.
    pub async fn with(replies: &[Reply], environment: &[(&str, &str)]) -> Self {
        let sns = Sns::start(replies).await;
        let defaults = [
            ("WEBHOOK_SECRET", KEY),
            ("SNS_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:pollo-outcomes"),
            ("AWS_ENDPOINT_URL_SNS", &sns.url),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        let config = Config::from_lookup(|variable| {
            let set = environment.iter().chain(&defaults).find(|(name, _)| *name == variable);
            set.map(|&(_, value)| value.to_owned()).ok_or(VarError::NotPresent)
        });
        let Config { verifier, topic, sns_client } = config.unwrap();
        let publisher = SnsPublisher::new(sns_client, topic.clone());
        Self { handler: Handler::new(verifier, publisher), topic: topic.as_str().to_owned(), sns }
    }

    /// Sends `event` at the time of the sample events.
    pub async fn receive(&self, event: &Value) -> Response {
        self.receive_by(None, event).await
    }

    /// Sends `event` in an invocation with this deadline.
    ///
    /// Checks for every event: it causes one log line of at most 65,536 bytes. This line and the response do not contain
    /// the key, the topic or the signatures. Their status is 200 if and only if SNS returned a message id.
    pub async fn receive_by(&self, deadline: Option<SystemTime>, event: &Value) -> Response {
        let mut request = lambda_http::request::from_str(&event.to_string()).unwrap();
        if let Some(deadline) = deadline {
            let mut invocation = Context::default();
            invocation.request_id = "request-1".to_owned();
            invocation.deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
            request = request.with_lambda_context(invocation);
        }
        // Leaked, because a subscriber borrows nothing.
        let log: &Mutex<Vec<u8>> = Box::leak(Box::default());
        let start = Instant::now();
        let response = self.handler.handle(&request, now()).with_subscriber(subscriber(|| log.make_writer()));
        let (parts, body) = response.await.into_parts();
        let took = start.elapsed();

        let written = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        let sent = str::from_utf8(&body).unwrap();
        let signature = event["headers"]["x-webhook-signature"].as_str().unwrap_or_default();
        for secret in signature.split([' ', ',']).filter(|token| token.len() > 8).chain([KEY, &*self.topic]) {
            assert!(!written.contains(secret), "{secret} in the log: {written}");
            assert!(!sent.contains(secret), "{secret} in the response: {sent}");
        }
        assert_eq!(written.lines().count(), 1, "{written}");
        assert!(written.len() <= 65_536, "a line of {} bytes", written.len());
        let mut log: Value = serde_json::from_str(&written).unwrap();
        assert!(log.as_object_mut().unwrap().remove("timestamp").unwrap().as_str().unwrap().ends_with('Z'));
        let body: Value = serde_json::from_str(sent).unwrap();
        assert_eq!(log["httpStatus"], parts.status.as_u16());
        assert_eq!(parts.status == 200, log["result"] == "published");
        assert_eq!(parts.status == 200, body["messageId"].is_string());
        assert_eq!(parts.status != 200, body["error"].is_string());
        assert_eq!(parts.headers["content-type"], "application/json");
        Response { status: parts.status.as_u16(), headers: parts.headers, body, log, took }
    }
}
