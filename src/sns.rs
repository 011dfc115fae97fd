//! One outcome, one Publish.

use std::error::Error as _;
use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::config::retry::RetryConfig;
use aws_sdk_sns::config::timeout::TimeoutConfig;
use aws_sdk_sns::config::{Builder, Region};
use aws_sdk_sns::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sns::operation::publish::PublishError as SnsPublishError;
use aws_sdk_sns::types::MessageAttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::outcome::TaskOutcome;
use crate::topic::TopicArn;

/// Three attempts of two seconds and the pauses between them fit into the operation's time, and that into the 8 s
/// in which Pollo is answered at the worst.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(7);
const MAX_ATTEMPTS: u32 = 3;
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_millis(400);

const _: () = {
    let attempts = ATTEMPT_TIMEOUT.as_millis() * MAX_ATTEMPTS as u128;
    let pauses = MAX_BACKOFF.as_millis() * (MAX_ATTEMPTS - 1) as u128;
    assert!(attempts + pauses < OPERATION_TIMEOUT.as_millis() && OPERATION_TIMEOUT.as_millis() < 8_000);
};

/// Longest `MessageGroupId` and `MessageDeduplicationId`, in characters (an AWS limit).
const MAX_FIFO_ID_CHARACTERS: usize = 128;

/// SNS has not accepted a message, or has not said that it has.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The call failed, after the retries that its kind deserves.
    #[error("SNS did not accept the message")]
    Sns(#[source] Box<SdkError<SnsPublishError>>),
    /// SNS answered without a message id.
    #[error("SNS answered without a message id")]
    NoMessageId,
}

impl PublishError {
    /// SNS's own code, like `AuthorizationError`, or the kind of failure where SNS has said nothing.
    pub fn code(&self) -> &str {
        match self {
            Self::NoMessageId => "NoMessageId",
            Self::Sns(error) => error.code().unwrap_or(match &**error {
                SdkError::TimeoutError(_) => "Timeout",
                SdkError::DispatchFailure(_) => "DispatchFailure",
                SdkError::ConstructionFailure(_) => "ConstructionFailure",
                SdkError::ServiceError(answer) if !answer.raw().status().is_success() => "NoErrorCode",
                _ => "UnreadableAnswer",
            }),
        }
    }

    /// SNS's own message, or what the SDK says of the failure.
    pub fn message(&self) -> String {
        let Self::Sns(error) = self else { return self.to_string() };
        if let Some(message) = error.message() {
            return message.to_owned();
        }
        let mut message = error.to_string();
        if let Some(answer) = error.raw_response() {
            message += &format!(": HTTP status {}", answer.status());
        }
        let mut source = error.source();
        while let Some(error) = source {
            message += &format!(": {error}");
            source = error.source();
        }
        message
    }
}

/// Publishes outcomes to one topic.
pub struct SnsPublisher {
    client: Client,
    topic: TopicArn,
}

impl SnsPublisher {
    /// A client for the region of `topic`, with credentials, endpoint and HTTP client from `sdk`. Its connection lives as
    /// long as it does.
    pub fn new(sdk: Builder, topic: TopicArn) -> Self {
        let config = sdk
            .region(Region::new(topic.region().to_owned()))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(OPERATION_TIMEOUT)
                    .build(),
            )
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(MAX_ATTEMPTS)
                    .with_initial_backoff(INITIAL_BACKOFF)
                    .with_max_backoff(MAX_BACKOFF),
            )
            .build();
        Self { client: Client::from_conf(config), topic }
    }

    /// Publishes `outcome` and gives SNS's message id.
    ///
    /// On a FIFO topic the task is the message group, and the task with its status the deduplication id: one outcome
    /// that is delivered again within SNS's five minutes is published once.
    ///
    /// # Errors
    ///
    /// [`PublishError`], within 8 s at the worst. SNS may have taken the message all the same, if only its answer was lost.
    pub async fn publish(&self, outcome: &TaskOutcome<'_>) -> Result<String, PublishError> {
        let mut request = self.client.publish().topic_arn(self.topic.as_str()).message(outcome.message());
        for (name, value) in outcome.attributes() {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build()
                .expect("a data type is all that is required");
            request = request.message_attributes(name, value);
        }
        if self.topic.is_fifo() {
            let (task_id, status) = (outcome.task_id(), outcome.status().as_str());
            request = request
                .message_group_id(fifo_id(task_id.to_owned()))
                .message_deduplication_id(fifo_id(format!("{task_id}.{status}")));
        }
        let answer = request.send().await.map_err(|error| PublishError::Sns(Box::new(error)))?;
        answer.message_id.filter(|id| !id.is_empty()).ok_or(PublishError::NoMessageId)
    }
}

/// `id`, or a hash of it where SNS would refuse it: it takes letters, digits and punctuation of ASCII.
fn fifo_id(id: String) -> String {
    if id.len() <= MAX_FIFO_ID_CHARACTERS && id.bytes().all(|b| b.is_ascii_graphic()) {
        id
    } else {
        URL_SAFE_NO_PAD.encode(Sha256::digest(id))
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sns::config::BehaviorVersion;

    use super::*;

    #[test]
    fn bounds_each_call_and_its_retries() {
        let topic = "arn:aws:sns:us-east-1:123456789012:pollo-outcomes".parse().unwrap();
        let publisher = SnsPublisher::new(Builder::new().behavior_version(BehaviorVersion::latest()), topic);
        let config = publisher.client.config();
        let timeouts = config.timeout_config().unwrap();
        assert_eq!(timeouts.connect_timeout(), Some(CONNECT_TIMEOUT));
        assert_eq!(timeouts.operation_attempt_timeout(), Some(ATTEMPT_TIMEOUT));
        assert_eq!(timeouts.operation_timeout(), Some(OPERATION_TIMEOUT));
        let retries = config.retry_config().unwrap();
        assert_eq!(retries.max_attempts(), MAX_ATTEMPTS);
        assert_eq!(retries.initial_backoff(), INITIAL_BACKOFF);
        assert_eq!(retries.max_backoff(), MAX_BACKOFF);
    }

    #[test]
    fn keeps_a_fifo_id_that_sns_takes() {
        let every_character: String = (b'!'..=b'~').map(char::from).collect();
        for id in ["t1", "cm9ap1d4e0001.succeed", &every_character, &"t".repeat(128)] {
            assert_eq!(fifo_id(id.to_owned()), id);
        }
    }

    #[test]
    fn hashes_a_fifo_id_that_sns_would_refuse() {
        // Made with Python: base64.urlsafe_b64encode(hashlib.sha256(id).digest())
        for (id, hash) in [
            ("a b", "yGh6CKpdbtIEQyj6aml6uOltw0KR6MIDSujDjm_MbWU"),
            ("é", "SplVfkAzw1Od4utlRyAXytX5VX96BiWgnxw_biumnEw"),
            ("t\u{7f}", "936M1ulYxJd49VLvgWHTVHErG-y7C522aMW7vOuJBk8"),
            (&*"t".repeat(129), "J0pYC5TpYz2ttE6ZaLiQaZ7bVDxmUnYiGOmDkQyeJcw"),
        ] {
            assert_eq!(fifo_id(id.to_owned()), hash);
        }
    }
}
