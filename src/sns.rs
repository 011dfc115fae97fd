//! The SNS client, its limits, and the call of Publish for each outcome.
//!
//! `aws-config` is not used: Lambda sets the credentials in the environment, and with `aws-config` the start takes
//! three quarters more instructions (docs/performance.md).

use std::collections::hash_map::RandomState;
use std::error::Error as _;
use std::fmt;
use std::hash::BuildHasher as _;
use std::iter::successors;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::config::interceptors::{BeforeTransmitInterceptorContextRef, InterceptorContext};
use aws_sdk_sns::config::retry::{ClassifyRetry, RetryAction, RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_sns::config::timeout::TimeoutConfig;
use aws_sdk_sns::config::{
    BehaviorVersion, Builder, ConfigBag, Credentials, IdentityCache, Intercept, Region, RuntimeComponents,
    StalledStreamProtectionConfig,
};
use aws_sdk_sns::error::{BoxError, ProvideErrorMetadata as _, SdkError};
use aws_sdk_sns::operation::publish::PublishError as SnsPublishError;
use aws_sdk_sns::types::MessageAttributeValue;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::retries::classifiers::{RetryClassifierPriority, RetryReason};
use aws_smithy_types::retry::ErrorKind;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::http::Uri;
use sha2::{Digest as _, Sha256};

use crate::outcome::TaskOutcome;
use crate::topic::TopicArn;

/// Largest message that SNS accepts, in bytes, including the names, types and values of its attributes (an AWS limit).
/// A topic can have a lower limit, `MaximumMessageSize`, 262,144 by default. SNS enforces that limit.
pub const MAX_MESSAGE_BYTES: usize = 1_048_576;

/// Longest time of a call with its retries. So Pollo gets a response within 8 s.
pub(crate) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(7);

/// Three attempts of 2 s and the pauses between them fit into [`PUBLISH_TIMEOUT`]. So do three attempts that SNS
/// throttles, and two pauses of 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_ATTEMPTS: u32 = 3;
/// The pause before the second attempt is random, up to this; before the third, up to twice this.
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
/// Longest pause that SNS can ask for.
const MAX_BACKOFF: Duration = Duration::from_secs(3);
/// Shortest pause after throttling; the longest is 500 ms longer. SNS counts calls per second, so all attempts within
/// one second meet the same used-up quota.
const THROTTLING_BACKOFF: Duration = Duration::from_secs(1);

/// Amazon's five root certificates. The certificate of every AWS endpoint chains to one of them
/// (<https://www.amazontrust.com/repository/>). The earliest expiry date is 2037-12-31.
const AMAZON_ROOTS: &str = include_str!("amazon-roots.pem");

/// The root certificates that the client trusts.
pub(crate) enum Roots {
    /// Amazon's.
    Amazon,
    /// Those in `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    Environment,
}

/// As whom and where the client calls SNS.
pub(crate) struct ClientSettings {
    pub credentials: Credentials,
    /// Replaces the endpoint of the topic's region.
    pub endpoint_url: Option<String>,
    pub use_fips: bool,
    pub use_dual_stack: bool,
    pub roots: Roots,
}

impl ClientSettings {
    /// The configuration of the client, without the region.
    pub(crate) fn into_config(self) -> Builder {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT);
        let retries = RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
            .with_initial_backoff(INITIAL_BACKOFF)
            .with_max_backoff(MAX_BACKOFF);
        let roots = match self.roots {
            // Reading the system's roots would take longer than the rest of the start.
            Roots::Amazon => TrustStore::empty().with_pem_certificate(AMAZON_ROOTS),
            Roots::Environment => TrustStore::empty().with_native_roots(true),
        };
        let tls = TlsContext::builder().with_trust_store(roots).build().expect("a trust store is enough");
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls);
        let mut config = Builder::new()
            // The version decides retries and timeouts, so `cargo update` must not change it. A later version has
            // other rules for pauses; take one together with the tests of failures.
            .behavior_version(BehaviorVersion::v2026_01_12())
            .credentials_provider(self.credentials)
            // The credentials never change: Lambda replaces them together with the process.
            .identity_cache(IdentityCache::no_cache())
            // The attempt's timeout ends a stalled response.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(http.build_https())
            .timeout_config(timeouts.build())
            .retry_config(retries)
            // An outage uses up the default retry quota, which does not refill with time. Later webhooks would have
            // only one attempt.
            .retry_partition(RetryPartition::custom("sns").token_bucket(TokenBucket::unlimited()).build())
            .retry_classifier(Throttling);
        // The SDK stores an entry for every setting, even for a default value, and copies all entries at the start.
        if self.use_fips {
            config = config.use_fips(true);
        }
        if self.use_dual_stack {
            config = config.use_dual_stack(true);
        }
        if let Some(url) = self.endpoint_url {
            config = config.endpoint_url(url);
        }
        config
    }
}

/// Retries every throttling error, after about a second or after the longer time that SNS asks for. The SDK's own
/// classifiers do not include SNS's codes `Throttled` and `KMSThrottling`, and HTTP status 429.
#[derive(Debug)]
struct Throttling;

impl ClassifyRetry for Throttling {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        self.classify_retry_v2(context, &RetryAction::NoActionIndicated)
    }

    fn classify_retry_v2(&self, context: &InterceptorContext, previous: &RetryAction) -> RetryAction {
        let is_known = matches!(
            previous,
            RetryAction::RetryIndicated(RetryReason::RetryableError { kind: ErrorKind::ThrottlingError, .. })
        );
        let error = context.output_or_error().and_then(|result| result.err()?.as_operation_error());
        let code = error.and_then(|error| error.downcast_ref::<SnsPublishError>()?.code()).unwrap_or_default();
        let is_429 = context.response().is_some_and(|response| response.status().as_u16() == 429);
        if !is_known && !is_429 && !code.contains("Throttl") {
            return RetryAction::NoActionIndicated;
        }
        let asked = context.response().and_then(|response| response.headers().get("x-amz-retry-after")?.parse().ok());
        let pause = throttling_pause().max(Duration::from_millis(asked.unwrap_or_default()));
        RetryAction::retryable_error_with_explicit_delay(ErrorKind::ThrottlingError, pause)
    }

    fn name(&self) -> &'static str {
        "Throttling"
    }

    /// After the SDK's classifiers, whose pauses are shorter.
    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

/// Random, so that the retries of several functions spread. A hasher is the standard library's source of randomness.
fn throttling_pause() -> Duration {
    let jitter = RandomState::new().hash_one(()) % 500;
    THROTTLING_BACKOFF + Duration::from_millis(jitter)
}

/// Why a message was not published.
#[derive(thiserror::Error)]
pub enum PublishError {
    /// The message is larger than [`MAX_MESSAGE_BYTES`]. SNS was not called.
    #[error("message is larger than SNS can take: {MAX_MESSAGE_BYTES} bytes with its attributes")]
    TooLarge,
    /// The call failed: after three attempts if the error can be temporary, otherwise after one. SNS may have accepted
    /// the message, if only its response was lost.
    #[error("SNS did not accept the message")]
    Sns {
        /// The host that was called.
        host: String,
        /// The SDK's error. Not the source of this error, because its text can quote the request.
        error: Box<SdkError<SnsPublishError>>,
    },
    /// The call and its retries took too long. SNS may have accepted the message.
    #[error("SNS did not accept the message within {} ms", limit.as_millis())]
    OutOfTime {
        /// The host that was called.
        host: String,
        /// The time that the call had.
        limit: Duration,
    },
    /// SNS responded without a message id.
    #[error("SNS responded without a message id")]
    NoMessageId,
}

impl fmt::Debug for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishError").field("code", &self.code()).field("detail", &self.detail()).finish()
    }
}

impl PublishError {
    /// SNS's error code, like `AuthorizationError`, or the kind of failure if SNS sent no code.
    pub fn code(&self) -> &str {
        match self {
            Self::TooLarge => "TooLarge",
            Self::NoMessageId => "NoMessageId",
            Self::OutOfTime { .. } => "Timeout",
            Self::Sns { error, .. } => error.code().unwrap_or(match &**error {
                SdkError::TimeoutError(_) => "Timeout",
                SdkError::DispatchFailure(_) => "DispatchFailure",
                SdkError::ConstructionFailure(_) => "ConstructionFailure",
                SdkError::ServiceError(response) if !response.raw().status().is_success() => "NoErrorCode",
                _ => "UnreadableResponse",
            }),
        }
    }

    /// SNS's error message, of any length, or the SDK's description of the failure. Names the host if no response came
    /// from there. Never quotes the request.
    pub fn detail(&self) -> String {
        let (host, error) = match self {
            Self::TooLarge | Self::NoMessageId => return self.to_string(),
            Self::OutOfTime { host, .. } => return format!("{self} ({host})"),
            Self::Sns { host, error } => (host, error),
        };
        if let Some(message) = error.message() {
            return message.to_owned();
        }
        let status = error.raw_response().map_or_else(String::new, |raw| format!(": HTTP status {}", raw.status()));
        // Other causes can quote the request. The cause for an invalid URL does.
        let cause = match &**error {
            SdkError::DispatchFailure(failure) if !failure.is_io() && !failure.is_timeout() => None,
            SdkError::ConstructionFailure(_) => None,
            _ => error.source(),
        };
        let causes = successors(cause, |&error| error.source()).map(|error| format!(": {error}"));
        let causes = causes.collect::<String>();
        match &**error {
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => format!("{error} ({host}){causes}"),
            _ => format!("{error}{status}{causes}"),
        }
    }
}

/// Keeps the host that is called, for the log. The SDK's errors do not name it.
#[derive(Clone, Debug, Default)]
struct CalledHost(Arc<OnceLock<String>>);

impl CalledHost {
    fn name(&self) -> String {
        self.0.get().cloned().unwrap_or_default()
    }
}

impl Intercept for CalledHost {
    fn name(&self) -> &'static str {
        "CalledHost"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.0.get().is_none() {
            let uri: Uri = context.request().uri().parse()?;
            let _ = self.0.set(uri.host().unwrap_or_default().to_owned());
        }
        Ok(())
    }
}

/// Publishes outcomes to one topic.
pub struct SnsPublisher {
    client: Client,
    topic: TopicArn,
    called_host: CalledHost,
}

impl SnsPublisher {
    /// Creates a client with this configuration, for the region of `topic`. The client reuses its connection.
    pub fn new(client_config: Builder, topic: TopicArn) -> Self {
        let called_host = CalledHost::default();
        let config = client_config.region(Region::new(topic.region().to_owned())).interceptor(called_host.clone());
        Self { client: Client::from_conf(config.build()), topic, called_host }
    }

    /// Publishes `outcome`, and returns SNS's message id.
    ///
    /// On a FIFO topic, the message group is the task, and the deduplication id is the task with its status. So SNS
    /// drops an outcome that is published again within five minutes.
    ///
    /// # Errors
    ///
    /// [`PublishError`], after at most `limit` or 7 s, whichever is shorter.
    pub async fn publish(&self, outcome: &TaskOutcome<'_>, limit: Duration) -> Result<String, PublishError> {
        let status = outcome.status().as_str();
        // Filter policies of subscribers can use these.
        let attributes = [
            ("status", status),
            ("taskId", outcome.task_id()),
            ("webhookId", outcome.webhook_id()),
            ("webhookTimestamp", outcome.webhook_timestamp()),
        ];
        let size = attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len()).sum::<usize>();
        if outcome.message().len() + size > MAX_MESSAGE_BYTES {
            return Err(PublishError::TooLarge);
        }
        let mut request = self.client.publish().topic_arn(self.topic.as_str()).message(outcome.message());
        for (name, value) in attributes {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build()
                .expect("a data type is all that is required");
            request = request.message_attributes(name, value);
        }
        if self.topic.is_fifo() {
            let task_id = outcome.task_id();
            request = request
                .message_group_id(fifo_id(task_id.to_owned()))
                .message_deduplication_id(fifo_id(format!("{task_id}.{status}")));
        }
        let limit = limit.min(PUBLISH_TIMEOUT);
        let host = || self.called_host.name();
        let response = match tokio::time::timeout(limit, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(PublishError::Sns { host: host(), error: Box::new(error) }),
            Err(_) => return Err(PublishError::OutOfTime { host: host(), limit }),
        };
        response.message_id.filter(|id| !id.is_empty()).ok_or(PublishError::NoMessageId)
    }
}

/// `id`, or its SHA-256 if SNS would reject `id`. SNS accepts 1 to 128 ASCII letters, digits and punctuation marks.
fn fifo_id(id: String) -> String {
    let is_valid = id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic());
    if is_valid { id } else { URL_SAFE_NO_PAD.encode(Sha256::digest(id)) }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::webhook::fresh;

    fn publisher(endpoint_url: Option<&str>) -> SnsPublisher {
        let settings = ClientSettings {
            credentials: Credentials::new(
                "AKIDEXAMPLE",
                "secret/key",
                Some("session/token".to_owned()),
                None,
                "a test",
            ),
            endpoint_url: endpoint_url.map(str::to_owned),
            use_fips: false,
            use_dual_stack: false,
            roots: Roots::Amazon,
        };
        let topic = "arn:aws:sns:us-east-1:123456789012:pollo-outcomes".parse().unwrap();
        SnsPublisher::new(settings.into_config(), topic)
    }

    #[test]
    fn bounds_each_call_and_its_retries() {
        let publisher = publisher(None);
        let config = publisher.client.config();
        let hanging = ATTEMPT_TIMEOUT * MAX_ATTEMPTS + INITIAL_BACKOFF * 3;
        let throttled = MAX_BACKOFF * (MAX_ATTEMPTS - 1);
        assert!(hanging < PUBLISH_TIMEOUT && throttled < PUBLISH_TIMEOUT && PUBLISH_TIMEOUT < Duration::from_secs(8));
        let timeouts = config.timeout_config().unwrap();
        assert_eq!(timeouts.connect_timeout(), Some(CONNECT_TIMEOUT));
        assert_eq!(timeouts.operation_attempt_timeout(), Some(ATTEMPT_TIMEOUT));
        let retries = config.retry_config().unwrap();
        assert_eq!(retries.max_attempts(), MAX_ATTEMPTS);
        assert_eq!(retries.initial_backoff(), INITIAL_BACKOFF);
        assert_eq!(retries.max_backoff(), MAX_BACKOFF);
    }

    #[test]
    fn a_pause_after_throttling_is_random_and_takes_a_second_or_half_a_second_more() {
        let mut pauses: Vec<Duration> = (0..1_000).map(|_| throttling_pause()).collect();
        pauses.sort_unstable();
        assert!(pauses[0] >= THROTTLING_BACKOFF && pauses[999] < THROTTLING_BACKOFF + Duration::from_millis(500));
        assert!(pauses[999] - pauses[0] > Duration::from_millis(250), "{pauses:?}");
    }

    #[test]
    fn keeps_a_fifo_id_that_sns_accepts() {
        let every_character: String = (b'!'..=b'~').map(char::from).collect();
        for id in ["t1", "cm9ap1d4e0001.succeed", &every_character, &"t".repeat(128)] {
            assert_eq!(fifo_id(id.to_owned()), id);
        }
    }

    #[test]
    fn hashes_a_fifo_id_that_sns_would_reject() {
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

    #[tokio::test]
    async fn never_quotes_the_request() {
        let body = br#"{"taskId":"t1","status":"succeed","generations":[{"url":"https://a.example/signed"}]}"#;
        let outcome = TaskOutcome::parse(fresh(body)).unwrap();
        for endpoint in ["foo bar", "127.0.0.1:1", "ftp://127.0.0.1:1", "http://127.0.0.1:1"] {
            let error = publisher(Some(endpoint)).publish(&outcome, PUBLISH_TIMEOUT).await.unwrap_err();
            for part in ["t1", "succeed", "signed", "Publish", "arn:", "AKIDEXAMPLE"] {
                assert!(!error.detail().contains(part), "{endpoint}: {}", error.detail());
            }
            for part in ["signed", "AKIDEXAMPLE", "secret/key", "session/token"] {
                assert!(!format!("{error:?}").contains(part), "{endpoint}: {error:?}");
            }
        }
    }

    #[test]
    fn has_amazons_roots_as_amazon_publishes_them() {
        let roots = AMAZON_ROOTS.split("-----BEGIN CERTIFICATE-----").skip(1);
        let fingerprints: Vec<String> = roots
            .map(|root| {
                let text: String = root.split("-----END").next().unwrap().split_whitespace().collect();
                let digest = Sha256::digest(STANDARD.decode(text).unwrap());
                digest.iter().fold(String::new(), |mut hex, byte| {
                    write!(hex, "{byte:02x}").unwrap();
                    hex
                })
            })
            .collect();
        assert_eq!(
            fingerprints,
            [
                "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e", // Amazon Root CA 1
                "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4", // Amazon Root CA 2
                "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4", // Amazon Root CA 3
                "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092", // Amazon Root CA 4
                "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5", // Starfield Services Root CA - G2
            ]
        );
    }
}
