//! The function with a configuration, an SNS behind it and its log caught.

use std::env::VarError;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lambda_http::http::HeaderMap;
use lambda_runtime::tracing::instrument::WithSubscriber as _;
use pollo_webhook::log::subscriber;
use pollo_webhook::{Config, ConfigError, Handler, SnsPublisher};
use serde_json::Value;

use crate::pollo::{KEY, now};
use crate::sns::{Reply, Sns};

pub struct Function {
    handler: Handler,
    topic: String,
    pub sns: Sns,
}

pub const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:pollo-outcomes";

/// What is read from these variables and, for those that are not among them, from the usual ones.
pub fn config(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_lookup(|variable| {
        let set = environment.iter().find(|(name, _)| *name == variable).map(|(_, value)| *value);
        let usual = match variable {
            "WEBHOOK_SECRET" => Some(KEY),
            "SNS_TOPIC_ARN" => Some(TOPIC),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test"),
            _ => None,
        };
        set.or(usual).map(str::to_owned).ok_or(VarError::NotPresent)
    })
}

/// What an event led to.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    /// The request's log line, without its time.
    pub log: Value,
    pub took: Duration,
}

impl Function {
    /// With the key of the sample events, the default tolerance and a topic that is no FIFO topic.
    pub async fn start(replies: &[Reply]) -> Self {
        Self::with(replies, &[]).await
    }

    /// With these variables of the environment beside or in place of the usual ones.
    pub async fn with(replies: &[Reply], environment: &[(&str, &str)]) -> Self {
        let sns = Sns::start(replies).await;
        let environment = [environment, &[("AWS_ENDPOINT_URL_SNS", &sns.url)]].concat();
        let Config { verifier, topic, sdk } = config(&environment).unwrap();
        let publisher = SnsPublisher::new(sdk, topic.clone());
        Self { handler: Handler::new(verifier, publisher), topic: topic.as_str().to_owned(), sns }
    }

    /// Hands over `event` at the time of the sample events.
    ///
    /// Whatever the event, this holds: it ends in one line in the log, that and the answer say nothing of the key, the
    /// topic or the signature, and they say 200 exactly if SNS gave a message id.
    pub async fn receive(&self, event: &Value) -> Answer {
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        let log = Log::default();
        let start = Instant::now();
        let answered = self.handler.handle_at(&request, now()).with_subscriber(subscriber(log.clone()));
        let (parts, body) = answered.await.into_parts();
        let took = start.elapsed();

        let written = log.text();
        let answered = str::from_utf8(&body).unwrap();
        let signature = event["headers"]["x-webhook-signature"].as_str().unwrap_or_default();
        for secret in signature.split([' ', ',']).filter(|token| token.len() > 8).chain([KEY, &*self.topic]) {
            assert!(!written.contains(secret), "{secret} in the log: {written}");
            assert!(!answered.contains(secret), "{secret} in the answer: {answered}");
        }
        assert_eq!(written.lines().count(), 1, "{written}");
        let mut log: Value = serde_json::from_str(&written).unwrap();
        assert!(log.as_object_mut().unwrap().remove("timestamp").unwrap().as_str().unwrap().ends_with('Z'));
        let body: Value = serde_json::from_str(answered).unwrap();
        assert_eq!(log["httpStatus"], parts.status.as_u16());
        assert_eq!(parts.status == 200, log["result"] == "published");
        assert_eq!(parts.status == 200, body["messageId"].is_string());
        assert_eq!(parts.status != 200, body["error"].is_string());
        assert_eq!(parts.headers["content-type"], "application/json");
        Answer { status: parts.status.as_u16(), headers: parts.headers, body, log, took }
    }

    /// Hands over `event` now, as Lambda does. Gives the answer's status.
    ///
    /// Where nobody listens, `tracing` can disable a line for the other threads too.
    pub async fn receive_now(&self, event: &Value) -> u16 {
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        self.handler.handle(&request).with_subscriber(subscriber(Log::default())).await.status().as_u16()
    }
}

/// What was logged.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl lambda_runtime::tracing::subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
