//! Reads the environment, once, at the start. No other module of the function reads a variable.

use std::env::VarError;
use std::error::Error;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use aws_sdk_sns::config::{Builder, Credentials};
use lambda_http::http::Uri;
use rustls::RootCertStore;
use rustls_native_certs::load_certs_from_paths;
use zeroize::Zeroizing;

use crate::sns::{ClientSettings, Roots};
use crate::topic::TopicArn;
use crate::webhook::Verifier;

#[derive(Clone, Copy)]
struct Variable {
    name: &'static str,
    /// A description of a valid value.
    expected: &'static str,
}

const SECRET: Variable = Variable {
    name: "WEBHOOK_SECRET",
    expected: "the Base64 key from Pollo's webhook page, or several separated by commas or white space",
};
const TOPIC: Variable = Variable {
    name: "SNS_TOPIC_ARN",
    expected: "the ARN of an SNS topic, like arn:aws:sns:us-east-1:123456789012:pollo-outcomes",
};
const TOLERANCE: Variable = Variable {
    name: "WEBHOOK_TOLERANCE_SECONDS",
    expected: "a whole number of seconds, like 300, or 0 to disable the timestamp check",
};
const ACCESS_KEY: Variable = Variable { name: "AWS_ACCESS_KEY_ID", expected: CREDENTIALS };
const SECRET_KEY: Variable = Variable { name: "AWS_SECRET_ACCESS_KEY", expected: CREDENTIALS };
const SESSION_TOKEN: Variable = Variable { name: "AWS_SESSION_TOKEN", expected: CREDENTIALS };
const ENDPOINT_OF_SNS: Variable = Variable { name: "AWS_ENDPOINT_URL_SNS", expected: ENDPOINT_URL };
const ENDPOINT: Variable = Variable { name: "AWS_ENDPOINT_URL", expected: ENDPOINT_URL };
const FIPS: Variable = Variable { name: "AWS_USE_FIPS_ENDPOINT", expected: SWITCH };
const DUAL_STACK: Variable = Variable { name: "AWS_USE_DUALSTACK_ENDPOINT", expected: SWITCH };
const ROOTS_FILE: Variable = Variable { name: "SSL_CERT_FILE", expected: "a file with PEM certificates" };
const ROOTS_FOLDERS: Variable = Variable { name: "SSL_CERT_DIR", expected: "folders with PEM certificates" };

const CREDENTIALS: &str = "the credentials of the function's role, which Lambda sets";
const ENDPOINT_URL: &str = "an http or https URL, or nothing for the endpoint of the topic's region";
const SWITCH: &str = "true or false; with an endpoint URL, false or nothing";

/// As long as a FIFO topic drops repeated messages, an AWS limit. Standard Webhooks uses the same tolerance.
const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// The configuration of the function.
#[derive(Debug)]
pub struct Config {
    /// From `WEBHOOK_SECRET` and `WEBHOOK_TOLERANCE_SECONDS`.
    pub verifier: Verifier,
    /// From `SNS_TOPIC_ARN`.
    pub topic: TopicArn,
    /// Configures the SNS client, except for its region. From AWS's variables, `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    pub sns_client: Builder,
}

/// Names every variable that is missing or invalid, and describes the expected value. Never repeats a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join(". "))]
pub struct ConfigError(Vec<String>);

impl Config {
    /// Reads an environment through `lookup`, which has the contract of [`std::env::var`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Result<String, VarError>) -> Result<Self, ConfigError> {
        let mut environment = Environment { lookup, problems: Vec::new() };
        let tolerance = environment.optional(TOLERANCE, parse_seconds).unwrap_or(DEFAULT_TOLERANCE);
        let verifier = environment.required(SECRET, |text| {
            let verifier = Verifier::new(&Zeroizing::new(text), tolerance);
            Ok(verifier.map_err(|error| format!("{error}; keys read: {}", error.keys))?)
        });
        let topic =
            environment.required(TOPIC, |text| Ok(TopicArn::parse(text.trim()).ok_or("not the ARN of an SNS topic")?));
        let [access_key, secret_key] = [ACCESS_KEY, SECRET_KEY].map(|key| environment.required(key, Ok));
        let session_token = environment.optional(SESSION_TOKEN, Ok);

        let [of_sns, of_all] = [ENDPOINT_OF_SNS, ENDPOINT].map(|url| environment.optional(url, parse_url));
        let endpoint_url = of_sns.or(of_all);
        let [use_fips, use_dual_stack] = [FIPS, DUAL_STACK].map(|switch| {
            environment.optional(switch, |text| parse_switch(&text, endpoint_url.is_some())).unwrap_or(false)
        });
        let roots = environment.roots();

        match (verifier, topic, access_key, secret_key) {
            (Some(verifier), Some(topic), Some(access_key), Some(secret_key)) if environment.problems.is_empty() => {
                let credentials = Credentials::new(access_key, secret_key, session_token, None, "the environment");
                let client = ClientSettings { credentials, endpoint_url, use_fips, use_dual_stack, roots };
                Ok(Self { verifier, topic, sns_client: client.into_config() })
            }
            _ => Err(ConfigError(environment.problems)),
        }
    }
}

/// A parsed value, or an error that does not repeat the value.
type Parsed<T> = Result<T, Box<dyn Error>>;

/// Reads variables, and collects the problems.
struct Environment<F> {
    lookup: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Result<String, VarError>> Environment<F> {
    fn required<T>(&mut self, variable: Variable, parse: impl FnOnce(String) -> Parsed<T>) -> Option<T> {
        self.read(variable, |text| parse(text.ok_or("not set or empty")?).map(Some))
    }

    fn optional<T>(&mut self, variable: Variable, parse: impl FnOnce(String) -> Parsed<T>) -> Option<T> {
        self.read(variable, |text| text.map(parse).transpose())
    }

    /// Treats an empty variable as not set, as AWS's SDKs do.
    fn read<T>(&mut self, variable: Variable, parse: impl FnOnce(Option<String>) -> Parsed<Option<T>>) -> Option<T> {
        let parsed = match (self.lookup)(variable.name) {
            Ok(text) => parse(Some(text).filter(|text| !text.is_empty())),
            Err(VarError::NotPresent) => parse(None),
            Err(VarError::NotUnicode(_)) => Err("not Unicode".into()),
        };
        parsed.unwrap_or_else(|problem| {
            self.reject(variable, problem);
            None
        })
    }

    fn reject(&mut self, Variable { name, expected }: Variable, problem: impl Display) {
        self.problems.push(format!("{name}: {problem} (expected {expected})"));
    }

    /// The client reads the file and the folders together, so one certificate is enough. Without one, all calls fail.
    fn roots(&mut self) -> Roots {
        let file = self.optional(ROOTS_FILE, |path| Ok(count_roots(Some(path.as_ref()), None)));
        let folders = self.optional(ROOTS_FOLDERS, |folders| {
            Ok(folders.split(':').map(|folder| count_roots(None, Some(folder.as_ref()))).sum())
        });
        let count = file.unwrap_or(0) + folders.unwrap_or(0);
        for variable in [file.and(Some(ROOTS_FILE)), folders.and(Some(ROOTS_FOLDERS))].into_iter().flatten() {
            if count == 0 {
                self.reject(variable, "no readable certificate");
            }
        }
        if file.or(folders).is_some() { Roots::Environment } else { Roots::Amazon }
    }
}

/// Accepts digits only: `parse` alone would also accept a plus sign.
fn parse_seconds(text: String) -> Parsed<Duration> {
    let digits = Some(text.trim()).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let seconds = digits.and_then(|digits| digits.parse().ok());
    Ok(seconds.map(Duration::from_secs).ok_or("not a whole number")?)
}

fn parse_url(text: String) -> Parsed<String> {
    let url: Uri = text.parse().map_err(|_| "not a URL")?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(text),
        _ => Err("not a URL".into()),
    }
}

fn parse_switch(text: &str, has_endpoint_url: bool) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" if has_endpoint_url => Err("cannot be combined with an endpoint URL: remove one of the two".into()),
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("neither true nor false".into()),
    }
}

/// Counts the root certificates that the client can use.
fn count_roots(file: Option<&Path>, folder: Option<&Path>) -> usize {
    RootCertStore::empty().add_parsable_certificates(load_certs_from_paths(file, folder).certs).0
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::sync::{Arc, OnceLock};

    use aws_sdk_sns::config::interceptors::BeforeTransmitInterceptorContextRef;
    use aws_sdk_sns::config::{ConfigBag, Intercept, RuntimeComponents};
    use aws_sdk_sns::error::BoxError;

    use super::*;
    use crate::outcome::TaskOutcome;
    use crate::sns::SnsPublisher;
    use crate::webhook::fresh;

    const ARN: &str = "arn:aws:sns:us-east-1:123456789012:pollo-outcomes";
    const KEY: &str = "cG9sbG8td2ViaG9vay1wdWJsaXNoZWQtdGVzdC1rZXk=";

    /// Reads a complete environment with these changes. `None` unsets a variable.
    fn read(changes: &[(&str, Option<&str>)]) -> Result<Config, ConfigError> {
        Config::from_lookup(|variable| {
            let usual = [
                ("WEBHOOK_SECRET", KEY),
                ("SNS_TOPIC_ARN", ARN),
                ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
                ("AWS_SECRET_ACCESS_KEY", "p4ssw%rd"),
                ("AWS_SESSION_TOKEN", "p4ssw%rd"),
            ];
            let changed = changes.iter().find(|(name, _)| *name == variable).map(|(_, value)| *value);
            let value = changed.unwrap_or_else(|| usual.iter().find(|(name, _)| *name == variable).map(|(_, v)| *v));
            value.map(str::to_owned).ok_or(VarError::NotPresent)
        })
    }

    /// The error for a complete environment with one change.
    fn problem(variable: &str, value: Option<&str>) -> String {
        let problem = read(&[(variable, value)]).unwrap_err().to_string();
        assert!(!problem.contains("p4ss") && !problem.contains('\n'), "{problem}");
        problem
    }

    #[test]
    fn reads_the_key_the_topic_and_a_tolerance_of_five_minutes() {
        let config = read(&[]).unwrap();
        assert_eq!(config.topic.as_str(), ARN);
        assert_eq!(format!("{:?}", config.verifier), "Verifier { keys: [Hmac { ... }], tolerance: 300s }");
    }

    #[test]
    fn reads_several_keys_another_tolerance_and_white_space_around_values() {
        let (keys, topic) = (format!(" {KEY},\n{KEY}\n"), format!(" {ARN}\n"));
        let config = read(&[
            ("WEBHOOK_SECRET", Some(&keys)),
            ("SNS_TOPIC_ARN", Some(&topic)),
            ("WEBHOOK_TOLERANCE_SECONDS", Some(" 86400\n")),
        ]);
        let config = config.unwrap();
        assert_eq!(config.topic.as_str(), ARN);
        assert_eq!(
            format!("{:?}", config.verifier),
            "Verifier { keys: [Hmac { ... }, Hmac { ... }], tolerance: 86400s }"
        );
    }

    #[test]
    fn accepts_each_form_of_an_optional_variable() {
        for (variable, value) in [
            ("WEBHOOK_TOLERANCE_SECONDS", ""),
            ("AWS_ENDPOINT_URL_SNS", ""),
            ("AWS_ENDPOINT_URL", "https://sns.example:8443/path"),
            ("AWS_ENDPOINT_URL_SNS", "http://[::1]:1"),
            ("AWS_USE_FIPS_ENDPOINT", "FALSE"),
            ("AWS_USE_FIPS_ENDPOINT", "True"),
            ("AWS_USE_DUALSTACK_ENDPOINT", ""),
            ("AWS_SESSION_TOKEN", ""),
            ("SSL_CERT_FILE", "src/amazon-roots.pem"),
            ("SSL_CERT_DIR", "src:/"),
        ] {
            assert!(read(&[(variable, Some(value))]).is_ok(), "{variable}={value}");
        }
    }

    #[test]
    fn names_a_variable_that_is_missing() {
        for (variable, expected) in [
            (
                "WEBHOOK_SECRET",
                "the Base64 key from Pollo's webhook page, or several separated by commas or white space",
            ),
            ("SNS_TOPIC_ARN", "the ARN of an SNS topic, like arn:aws:sns:us-east-1:123456789012:pollo-outcomes"),
            ("AWS_ACCESS_KEY_ID", "the credentials of the function's role, which Lambda sets"),
            ("AWS_SECRET_ACCESS_KEY", "the credentials of the function's role, which Lambda sets"),
        ] {
            assert_eq!(problem(variable, None), format!("{variable}: not set or empty (expected {expected})"));
        }
    }

    #[test]
    fn names_a_variable_that_is_invalid_and_repeats_no_value() {
        for (variable, value, problem_and_expectation) in [
            ("WEBHOOK_SECRET", "", "not set or empty (expected the Base64 key"),
            ("WEBHOOK_SECRET", " ", "key 1 is empty; keys read: 1 (expected the Base64 key"),
            ("WEBHOOK_SECRET", "p4ssw%rd", "key 1 is not Base64; keys read: 1 (expected the Base64 key"),
            (
                "WEBHOOK_SECRET",
                "changeme",
                "key 1 has 6 bytes; at least 16 are needed; keys read: 1 (expected the Base64 key",
            ),
            ("SNS_TOPIC_ARN", "", "not set or empty (expected the ARN of an SNS topic"),
            ("SNS_TOPIC_ARN", "p4ssw%rd", "not the ARN of an SNS topic (expected the ARN of an SNS topic"),
            ("WEBHOOK_TOLERANCE_SECONDS", "p4ssw%rd", "not a whole number (expected a whole number of seconds"),
            ("WEBHOOK_TOLERANCE_SECONDS", "-1", "not a whole number (expected"),
            ("WEBHOOK_TOLERANCE_SECONDS", "+1", "not a whole number (expected"),
            ("WEBHOOK_TOLERANCE_SECONDS", "1.5", "not a whole number (expected"),
            ("WEBHOOK_TOLERANCE_SECONDS", "99999999999999999999", "not a whole number (expected"),
            ("AWS_ACCESS_KEY_ID", "", "not set or empty (expected the credentials"),
            ("AWS_SECRET_ACCESS_KEY", "", "not set or empty (expected the credentials"),
            ("AWS_ENDPOINT_URL_SNS", "p4ss word", "not a URL (expected an http or https URL"),
            ("AWS_ENDPOINT_URL", "p4ss word", "not a URL (expected an http or https URL"),
            ("AWS_ENDPOINT_URL", "p4ssword", "not a URL (expected"),
            ("AWS_ENDPOINT_URL", "127.0.0.1:4100", "not a URL (expected"),
            ("AWS_ENDPOINT_URL", "http://", "not a URL (expected"),
            ("AWS_ENDPOINT_URL", "http://:4100", "not a URL (expected"),
            ("AWS_ENDPOINT_URL", "ftp://p4ss.example", "not a URL (expected"),
            ("AWS_USE_FIPS_ENDPOINT", "p4ss", "neither true nor false (expected true or false; with"),
            ("AWS_USE_DUALSTACK_ENDPOINT", "1", "neither true nor false (expected true or false; with"),
            ("SSL_CERT_FILE", "/p4ss", "no readable certificate (expected a file with PEM certificates)"),
            ("SSL_CERT_FILE", "Cargo.toml", "no readable certificate (expected"),
            ("SSL_CERT_FILE", "tests/vectors/not-certificates.pem", "no readable certificate (expected"),
            ("SSL_CERT_DIR", "/p4ss", "no readable certificate (expected folders with PEM certificates)"),
            ("SSL_CERT_DIR", "events:src/amazon-roots.pem", "no readable certificate (expected"),
        ] {
            let problem = problem(variable, Some(value));
            assert!(problem.starts_with(&format!("{variable}: {problem_and_expectation}")), "{problem}");
        }
    }

    #[test]
    fn one_certificate_in_a_file_or_a_folder_is_enough() {
        for (file, folders) in [("src/amazon-roots.pem", "/nonexistent"), ("/nonexistent", "events:src")] {
            assert!(
                read(&[("SSL_CERT_FILE", Some(file)), ("SSL_CERT_DIR", Some(folders))]).is_ok(),
                "{file} {folders}"
            );
        }
        let error = read(&[("SSL_CERT_FILE", Some("Cargo.toml")), ("SSL_CERT_DIR", Some("/nonexistent"))]).unwrap_err();
        assert_eq!(error.to_string().matches("no readable certificate").count(), 2, "{error}");
    }

    #[test]
    fn rejects_an_endpoint_that_cannot_have_a_fips_or_dual_stack_variant() {
        for switch in ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"] {
            let error = read(&[(switch, Some("true")), ("AWS_ENDPOINT_URL", Some("http://127.0.0.1:1"))]).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "{switch}: cannot be combined with an endpoint URL: remove one of the two (expected true or false; \
                     with an endpoint URL, false or nothing)"
                )
            );
        }
    }

    #[test]
    fn names_every_variable_that_is_wrong_in_one_line() {
        let error = read(&[
            ("WEBHOOK_SECRET", Some("null")),
            ("SNS_TOPIC_ARN", None),
            ("WEBHOOK_TOLERANCE_SECONDS", Some("five minutes")),
            ("AWS_ENDPOINT_URL_SNS", Some("foo bar")),
        ]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "WEBHOOK_TOLERANCE_SECONDS: not a whole number (expected a whole number of seconds, like 300, or 0 to disable \
             the timestamp check). WEBHOOK_SECRET: key 1 has 3 bytes; at least 16 are needed; keys read: 1 (expected the Base64 key \
             from Pollo's webhook page, or several separated by commas or white space). SNS_TOPIC_ARN: not set or empty (expected \
             the ARN of an SNS topic, like arn:aws:sns:us-east-1:123456789012:pollo-outcomes). AWS_ENDPOINT_URL_SNS: not \
             a URL (expected an http or https URL, or nothing for the endpoint of the topic's region)"
        );
    }

    #[test]
    fn shows_no_secret_when_printed() {
        let printed = format!("{:?}", read(&[]).unwrap());
        assert!(!printed.contains("p4ss") && !printed.contains(KEY), "{printed}");
    }

    #[test]
    fn does_not_repeat_a_value_that_is_not_unicode() {
        let error = Config::from_lookup(|_| Err(VarError::NotUnicode(OsString::from("p4ssw%rd")))).unwrap_err();
        assert_eq!(error.to_string().matches(": not Unicode (expected ").count(), 12, "{error}");
        assert!(!format!("{error:?}").contains("p4ss"));
    }

    /// Records the URL of a call and does not send it.
    #[derive(Clone, Debug, Default)]
    struct KeepUrl(Arc<OnceLock<String>>);

    impl Intercept for KeepUrl {
        fn name(&self) -> &'static str {
            "KeepUrl"
        }

        fn read_before_transmit(
            &self,
            call: &BeforeTransmitInterceptorContextRef<'_>,
            _: &RuntimeComponents,
            _: &mut ConfigBag,
        ) -> Result<(), BoxError> {
            self.0.set(call.request().uri().to_owned()).unwrap();
            Err("no call is made".into())
        }
    }

    #[tokio::test]
    async fn the_region_or_the_environment_sets_the_endpoint() {
        let fips = ("AWS_USE_FIPS_ENDPOINT", Some("true"));
        let dual_stack = ("AWS_USE_DUALSTACK_ENDPOINT", Some("true"));
        let of_all = ("AWS_ENDPOINT_URL", Some("https://all.example/"));
        let of_sns = ("AWS_ENDPOINT_URL_SNS", Some("https://sns.example/"));
        let in_china = ("SNS_TOPIC_ARN", Some("arn:aws-cn:sns:cn-north-1:123456789012:t"));
        for (environment, url) in [
            (&[][..], "https://sns.us-east-1.amazonaws.com/"),
            (&[in_china], "https://sns.cn-north-1.amazonaws.com.cn/"),
            (&[fips], "https://sns-fips.us-east-1.amazonaws.com/"),
            (&[dual_stack], "https://sns.us-east-1.api.aws/"),
            (&[fips, dual_stack], "https://sns-fips.us-east-1.api.aws/"),
            (&[of_all], "https://all.example/"),
            (&[of_sns, of_all], "https://sns.example/"),
        ] {
            let (config, called) = (read(environment).unwrap(), KeepUrl::default());
            let publisher = SnsPublisher::new(config.sns_client.interceptor(called.clone()), config.topic);
            let outcome = TaskOutcome::parse(fresh(br#"{"taskId":"t1","status":"succeed"}"#)).unwrap();
            assert!(publisher.publish(&outcome, Duration::MAX).await.is_err());
            assert_eq!(called.0.get().unwrap(), url, "{environment:?}");
        }
    }
}
