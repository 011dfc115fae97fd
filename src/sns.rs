//! The SNS client, its limits, and the call of Publish for each outcome.
//!
//! Without `aws-config`: Lambda sets the credentials in the environment, and the start would be much slower.

use std::collections::hash_map::RandomState;
use std::iter::successors;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{error::Error as _, hash::BuildHasher as _};

use aws_sdk_sns::config::StalledStreamProtectionConfig;
use aws_sdk_sns::config::interceptors::InterceptorContext;
use aws_sdk_sns::config::retry::{ClassifyRetry, RetryAction, RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_sns::config::timeout::TimeoutConfig;
use aws_sdk_sns::config::{BehaviorVersion, Builder, Credentials, IdentityCache, Region};
use aws_sdk_sns::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sns::{Client, operation::publish, types::MessageAttributeValue};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime::client::interceptors::MutateRequestInterceptor;
use aws_smithy_runtime_api::client::{orchestrator::HttpRequest, retries::classifiers::RetryClassifierPriority};
use aws_smithy_types::retry::ErrorKind;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lambda_http::http::Uri;
use sha2::{Digest as _, Sha256};

use crate::outcome::TaskOutcome;
use crate::topic::TopicArn;

/// Largest message that SNS accepts, in bytes, including the names, types and values of its attributes (an AWS limit).
/// A topic can have a lower limit, `MaximumMessageSize`, 262,144 by default. SNS enforces that limit.
pub const MAX_MESSAGE_BYTES: usize = 1_048_576;

/// Longest time of a call with its retries, so that Pollo gets a response within 8 s. Three attempts of 2 s fit into it,
/// and so do three short ones with two pauses of 3 s.
pub(crate) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(7);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_ATTEMPTS: u32 = 3;
/// The pause before the second attempt is random, up to this; before the third, up to twice this.
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
/// Shortest pause after throttling; the longest is 500 ms longer. SNS counts calls per second, so all attempts within
/// one second meet the same used-up quota.
const THROTTLING_BACKOFF: Duration = Duration::from_secs(1);
/// Longest pause that SNS can ask for.
const MAX_BACKOFF: Duration = Duration::from_secs(3);

/// Amazon's five root certificates. The certificate of every AWS endpoint chains to one of them
/// (<https://www.amazontrust.com/repository/>). The earliest expiry date is 2037-12-31.
const AMAZON_ROOTS: &str = include_str!("amazon-roots.pem");

/// As whom and where the client calls SNS.
pub(crate) struct ClientSettings {
    pub credentials: Credentials,
    /// Replaces the endpoint of the topic's region.
    pub endpoint_url: Option<String>,
    pub use_fips: bool,
    pub use_dual_stack: bool,
    pub roots: Roots,
}

/// The root certificates that the client trusts.
pub(crate) enum Roots {
    Amazon,
    /// Those in `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    Environment,
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
        let config = Builder::new()
            // The version decides retries and timeouts, so `cargo update` must not change it. Take a later one together
            // with the tests of failures.
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
        let config = if self.use_fips { config.use_fips(true) } else { config };
        let config = if self.use_dual_stack { config.use_dual_stack(true) } else { config };
        if let Some(url) = self.endpoint_url { config.endpoint_url(url) } else { config }
    }
}

/// Parts of all codes of SNS, KMS and AWS in general that mean throttling. The SDK knows neither `Throttled` nor
/// `KMSThrottling`, and not the HTTP status 429.
const THROTTLING_CODES: [&str; 4] = ["Throttl", "LimitExceeded", "SlowDown", "TooManyRequests"];

/// Retries every throttling error, after about a second or after the longer time that SNS asks for.
#[derive(Debug)]
struct Throttling;

impl ClassifyRetry for Throttling {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(|result| result.err()?.as_operation_error());
        let code = error.and_then(|error| error.downcast_ref::<publish::PublishError>()?.code()).unwrap_or_default();
        let is_429 = context.response().is_some_and(|response| response.status().as_u16() == 429);
        if !is_429 && !THROTTLING_CODES.iter().any(|part| code.contains(part)) {
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
    THROTTLING_BACKOFF + Duration::from_millis(RandomState::new().hash_one(()) % 500)
}

/// Why a message was not published. The texts are for the response.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The message is larger than [`MAX_MESSAGE_BYTES`]. SNS was not called.
    #[error("message is larger than SNS can take: {MAX_MESSAGE_BYTES} bytes with its attributes")]
    TooLarge,
    /// The call failed: after three attempts if the error can be temporary, otherwise after one. SNS may have accepted
    /// the message, if only its response was lost.
    #[error("the outcome could not be published, send it again")]
    NotAccepted {
        /// SNS's error code, like `AuthorizationError`, or the kind of failure if SNS sent no code.
        code: String,
        /// SNS's error message, of any length, or a description of the failure. Never quotes the request.
        detail: String,
    },
}

impl PublishError {
    fn not_accepted(code: &str, detail: impl Into<String>) -> Self {
        Self::NotAccepted { code: code.to_owned(), detail: detail.into() }
    }

    /// The SDK's error is not kept, because it can quote the request.
    fn of_sdk(error: &SdkError<publish::PublishError>, host: &str) -> Self {
        let kind = match error {
            SdkError::TimeoutError(_) => "Timeout",
            SdkError::DispatchFailure(_) => "DispatchFailure",
            SdkError::ConstructionFailure(_) => "ConstructionFailure",
            SdkError::ServiceError(response) if !response.raw().status().is_success() => "NoErrorCode",
            _ => "UnreadableResponse",
        };
        let code = error.code().unwrap_or(kind);
        if let Some(message) = error.message() {
            return Self::not_accepted(code, message);
        }
        let place = match error.raw_response() {
            Some(response) => format!(": HTTP status {}", response.status()),
            None => format!(" ({host})"),
        };
        // Other causes can quote the request. The cause for an invalid URL does.
        let cause = match error {
            SdkError::DispatchFailure(failure) if !failure.is_io() && !failure.is_timeout() => None,
            SdkError::ConstructionFailure(_) => None,
            _ => error.source(),
        };
        let causes = successors(cause, |&error| error.source()).map(|error| format!(": {error}"));
        Self::not_accepted(code, format!("{error}{place}{}", causes.collect::<String>()))
    }
}

/// Publishes outcomes to one topic.
pub struct SnsPublisher {
    client: Client,
    topic: TopicArn,
    /// Known after the first call. The SDK's errors do not name the host.
    endpoint: Arc<OnceLock<Uri>>,
}

impl SnsPublisher {
    /// Creates a client with this configuration, for the region of `topic`. The client reuses its connection.
    pub fn new(client_config: Builder, topic: TopicArn) -> Self {
        let endpoint = Arc::<OnceLock<Uri>>::default();
        let called = Arc::clone(&endpoint);
        let keep_endpoint = MutateRequestInterceptor::new(move |request: &mut HttpRequest| {
            called.get_or_init(|| request.uri().parse().unwrap_or_default());
        });
        let config = client_config.region(Region::new(topic.region().to_owned())).interceptor(keep_endpoint);
        Self { client: Client::from_conf(config.build()), topic, endpoint }
    }

    /// Publishes `outcome`, and returns SNS's message id.
    ///
    /// On a FIFO topic, the message group is the task, and the deduplication id is the task with its status. So SNS
    /// drops an outcome that is published again within five minutes. Takes at most `limit`, and never more than 7 s.
    pub async fn publish(&self, outcome: &TaskOutcome<'_>, limit: Duration) -> Result<String, PublishError> {
        let (message, task_id, status) = (outcome.message(), outcome.task_id(), outcome.status().as_str());
        // Filter policies of subscribers can use these.
        let attributes = [
            ("status", status),
            ("taskId", task_id),
            ("webhookId", outcome.webhook().id),
            ("webhookTimestamp", outcome.webhook().timestamp),
        ];
        let size = attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len()).sum::<usize>();
        if message.len() + size > MAX_MESSAGE_BYTES {
            return Err(PublishError::TooLarge);
        }
        let mut request = self.client.publish().topic_arn(self.topic.as_str()).message(message);
        for (name, value) in attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            request = request.message_attributes(name, value.expect("a data type is all that is required"));
        }
        if self.topic.is_fifo() {
            request = request
                .message_group_id(fifo_id(task_id.to_owned()))
                .message_deduplication_id(fifo_id(format!("{task_id}.{status}")));
        }
        let limit = limit.min(PUBLISH_TIMEOUT);
        let result = tokio::time::timeout(limit, request.send()).await;
        let host = self.endpoint.get().and_then(Uri::host).unwrap_or_default();
        match result {
            Ok(Ok(response)) => response
                .message_id
                .filter(|id| !id.is_empty())
                .ok_or_else(|| PublishError::not_accepted("NoMessageId", "SNS responded without a message id")),
            Ok(Err(error)) => Err(PublishError::of_sdk(&error, host)),
            Err(_) => {
                let detail = format!("SNS did not accept the message within {} ms ({host})", limit.as_millis());
                Err(PublishError::not_accepted("Timeout", detail))
            }
        }
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
        let topic = TopicArn::parse("arn:aws:sns:us-east-1:123456789012:pollo-outcomes").unwrap();
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
            for part in ["t1", "succeed", "signed", "=Publish", "arn:", "AKIDEXAMPLE", "secret/key", "session/token"] {
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
