//! The environment, read once at the start. No other place reads a variable of ours.

use std::env::{self, VarError};
use std::time::Duration;

use aws_sdk_sns::config::Credentials;
use zeroize::Zeroizing;

use crate::sns::SnsAccess;
use crate::topic::{NotATopicArn, TopicArn};
use crate::webhook::Verifier;

/// A variable, and what is expected of it.
#[derive(Clone, Copy)]
struct Variable {
    name: &'static str,
    expected: &'static str,
}

const SECRET: Variable = Variable {
    name: "WEBHOOK_SECRET",
    expected: "the Base64 key from Pollo's webhook page, or several separated by commas",
};
const TOPIC: Variable = Variable {
    name: "SNS_TOPIC_ARN",
    expected: "the ARN of an SNS topic, like arn:aws:sns:us-east-1:123456789012:pollo-outcomes",
};
const TOLERANCE: Variable = Variable {
    name: "WEBHOOK_TOLERANCE_SECONDS",
    expected: "a whole number of seconds, like 300, or 0 to disable the timestamp check",
};
const ACCESS_KEY: Variable = Variable { name: "AWS_ACCESS_KEY_ID", expected: ROLES_CREDENTIALS };
const SECRET_KEY: Variable = Variable { name: "AWS_SECRET_ACCESS_KEY", expected: ROLES_CREDENTIALS };
const SESSION_TOKEN: Variable = Variable { name: "AWS_SESSION_TOKEN", expected: ROLES_CREDENTIALS };

const ROLES_CREDENTIALS: &str = "the credentials of the function's role, which Lambda sets";

/// Five minutes: for as long a FIFO topic drops a repeated message, so that a captured one has no effect there.
const DEFAULT_TOLERANCE_SECONDS: u64 = 300;

/// What the function needs to know.
#[derive(Debug)]
pub struct Config {
    /// From `WEBHOOK_SECRET` and `WEBHOOK_TOLERANCE_SECONDS`.
    pub verifier: Verifier,
    /// From `SNS_TOPIC_ARN`.
    pub topic: TopicArn,
    /// From AWS's own variables.
    pub sns: SnsAccess,
}

/// A variable that is missing or invalid. The message names it and says what is expected; it never repeats a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}; expected {expected}")]
pub struct ConfigError {
    variable: &'static str,
    problem: String,
    expected: &'static str,
}

impl ConfigError {
    fn new(variable: Variable, problem: impl ToString) -> Self {
        Self { variable: variable.name, problem: problem.to_string(), expected: variable.expected }
    }
}

impl Config {
    /// Reads this process's environment.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], for the first variable that is missing or unreadable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|variable| env::var(variable))
    }

    /// Reads an environment through `lookup`, which answers as [`std::env::var`] does.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], for the first variable that is missing or unreadable.
    pub fn from_lookup(lookup: impl Fn(&str) -> Result<String, VarError>) -> Result<Self, ConfigError> {
        let optional = |variable: Variable| match lookup(variable.name) {
            Ok(value) => Ok(Some(value)),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(ConfigError::new(variable, "not Unicode")),
        };
        let required = |variable| optional(variable)?.ok_or(ConfigError::new(variable, "not set"));

        let secret = Zeroizing::new(required(SECRET)?);
        let topic = required(TOPIC)?.trim().parse().map_err(|error: NotATopicArn| ConfigError::new(TOPIC, error))?;
        let tolerance = match optional(TOLERANCE)? {
            Some(text) => parse_seconds(text.trim()).ok_or(ConfigError::new(TOLERANCE, "not a whole number"))?,
            None => DEFAULT_TOLERANCE_SECONDS,
        };
        let verifier =
            Verifier::new(&secret, Duration::from_secs(tolerance)).map_err(|error| ConfigError::new(SECRET, error))?;
        let credentials = Credentials::new(
            required(ACCESS_KEY)?,
            required(SECRET_KEY)?,
            optional(SESSION_TOKEN)?,
            None,
            "the environment",
        );
        let set = |name| lookup(name).ok().filter(|value| !value.is_empty());
        let is_true = |name| set(name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let sns = SnsAccess {
            credentials,
            endpoint_url: set("AWS_ENDPOINT_URL_SNS").or_else(|| set("AWS_ENDPOINT_URL")),
            use_fips: is_true("AWS_USE_FIPS_ENDPOINT"),
            use_dual_stack: is_true("AWS_USE_DUALSTACK_ENDPOINT"),
            roots_are_named: set("SSL_CERT_FILE").or_else(|| set("SSL_CERT_DIR")).is_some(),
        };
        Ok(Self { verifier, topic, sns })
    }
}

/// Digits only: `parse` alone would take a plus sign too.
fn parse_seconds(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    const ARN: &str = "arn:aws:sns:us-east-1:123456789012:pollo-outcomes";

    fn read(environment: &[(Variable, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(|variable| {
            let lambdas = [(ACCESS_KEY, "AKIDEXAMPLE"), (SECRET_KEY, "p4ssw%rd"), (SESSION_TOKEN, "p4ssw%rd")];
            let found = environment.iter().chain(&lambdas).find(|(set, _)| set.name == variable);
            found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
        })
    }

    fn refusal(environment: &[(Variable, &str)]) -> String {
        read(environment).unwrap_err().to_string()
    }

    #[test]
    fn reads_the_key_the_topic_and_a_tolerance_of_five_minutes() {
        let config = read(&[(SECRET, "QUJDRA=="), (TOPIC, ARN)]).unwrap();
        assert_eq!(config.topic.as_str(), ARN);
        assert_eq!(format!("{:?}", config.verifier), "Verifier { keys: [1 redacted], tolerance: 300s }");
    }

    #[test]
    fn reads_several_keys_another_tolerance_and_white_space_around_values() {
        let config =
            read(&[(SECRET, " QUJDRA==,\nQUJD\n"), (TOPIC, &format!(" {ARN}\n")), (TOLERANCE, " 86400\n")]).unwrap();
        assert_eq!(config.topic.as_str(), ARN);
        assert_eq!(format!("{:?}", config.verifier), "Verifier { keys: [2 redacted], tolerance: 86400s }");
    }

    #[test]
    fn names_the_variable_that_is_missing() {
        assert_eq!(
            refusal(&[(TOPIC, ARN)]),
            "WEBHOOK_SECRET: not set; expected the Base64 key from Pollo's webhook page, or several separated by commas"
        );
        assert_eq!(
            refusal(&[(SECRET, "QUJDRA==")]),
            "SNS_TOPIC_ARN: not set; expected the ARN of an SNS topic, like \
             arn:aws:sns:us-east-1:123456789012:pollo-outcomes"
        );
    }

    #[test]
    fn names_the_variable_that_is_unreadable_and_repeats_no_value() {
        for (variable, value, start) in [
            (SECRET, "", "WEBHOOK_SECRET: key 1 is empty or nothing but zeros; expected the Base64 key"),
            (SECRET, "QUJDRA==,,QUJD", "WEBHOOK_SECRET: key 2 is empty or nothing but zeros; expected the Base64 key"),
            (SECRET, "p4ssw%rd", "WEBHOOK_SECRET: key 1 is not Base64; expected the Base64 key"),
            (TOPIC, "", "SNS_TOPIC_ARN: not the ARN of an SNS topic; expected the ARN of an SNS topic"),
            (TOPIC, "p4ssw%rd", "SNS_TOPIC_ARN: not the ARN of an SNS topic; expected the ARN of an SNS topic"),
            (TOLERANCE, "", "WEBHOOK_TOLERANCE_SECONDS: not a whole number; expected a whole number of seconds"),
            (TOLERANCE, "p4ssw%rd", "WEBHOOK_TOLERANCE_SECONDS: not a whole number; expected a whole number"),
            (TOLERANCE, "-1", "WEBHOOK_TOLERANCE_SECONDS: not a whole number"),
            (TOLERANCE, "+1", "WEBHOOK_TOLERANCE_SECONDS: not a whole number"),
            (TOLERANCE, "1.5", "WEBHOOK_TOLERANCE_SECONDS: not a whole number"),
            (TOLERANCE, "99999999999999999999", "WEBHOOK_TOLERANCE_SECONDS: not a whole number"),
        ] {
            // The first entry of a name is the one that is read.
            let refusal = refusal(&[(variable, value), (SECRET, "QUJDRA=="), (TOPIC, ARN), (TOLERANCE, "300")]);
            assert!(refusal.starts_with(start), "{refusal}");
            assert!(!refusal.contains("p4ss"), "{refusal}");
            assert!(!refusal.contains('\n'), "{refusal}");
        }
    }

    #[test]
    fn names_the_credentials_that_lambda_has_not_set() {
        for variable in [ACCESS_KEY, SECRET_KEY] {
            let environment = [(SECRET, "QUJDRA=="), (TOPIC, ARN), (ACCESS_KEY, "AKIDEXAMPLE"), (SECRET_KEY, "s")];
            let error = Config::from_lookup(|name| {
                let found = environment.iter().find(|(set, _)| set.name == name && name != variable.name);
                found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
            })
            .unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "{}: not set; expected the credentials of the function's role, which Lambda sets",
                    variable.name
                )
            );
        }
    }

    #[test]
    fn shows_no_secret_when_printed() {
        let printed = format!("{:?}", read(&[(SECRET, "p4sswrd="), (TOPIC, ARN)]).unwrap());
        assert!(!printed.contains("p4ss"), "{printed}");
    }

    #[test]
    fn does_not_repeat_a_value_that_is_not_unicode() {
        let error = Config::from_lookup(|_| Err(VarError::NotUnicode(OsString::from("p4ssw%rd")))).unwrap_err();
        assert!(error.to_string().starts_with("WEBHOOK_SECRET: not Unicode; expected the Base64 key"), "{error}");
        assert!(!format!("{error:?}").contains("p4ss"));
    }
}
