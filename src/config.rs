//! The environment, read once at the start. No other place reads a variable of ours.

use std::env::{self, VarError};
use std::time::Duration;

use aws_sdk_sns::config::{Builder, Credentials};
use zeroize::Zeroizing;

use crate::sdk;
use crate::signature::Verifier;
use crate::topic::{NotATopicArn, TopicArn};

const SECRET: &str = "WEBHOOK_SECRET";
const TOPIC: &str = "SNS_TOPIC_ARN";
const TOLERANCE: &str = "WEBHOOK_TOLERANCE_SECONDS";

/// The credentials of the function's role.
const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// Five minutes: for as long a FIFO topic drops a repeated message, so that a captured one has no effect there.
const DEFAULT_TOLERANCE_SECONDS: u64 = 300;

/// What the function needs to know. See the [environment table](crate#environment).
#[derive(Debug)]
pub struct Config {
    /// From `WEBHOOK_SECRET` and `WEBHOOK_TOLERANCE_SECONDS`.
    pub verifier: Verifier,
    /// From `SNS_TOPIC_ARN`.
    pub topic: TopicArn,
    /// From AWS's own variables.
    pub sdk: Builder,
}

/// A variable that is missing or unreadable. The message names it and says what is expected; it never repeats a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}; expected {}", expected(.variable))]
pub struct ConfigError {
    variable: &'static str,
    problem: String,
}

impl ConfigError {
    fn new(variable: &'static str, problem: impl ToString) -> Self {
        Self { variable, problem: problem.to_string() }
    }
}

fn expected(variable: &str) -> &'static str {
    match variable {
        SECRET => "the Base64 key from Pollo's webhook page, or several separated by commas",
        ACCESS_KEY | SECRET_KEY => "the credentials of the function's role, which Lambda sets",
        TOPIC => "the ARN of an SNS topic, like arn:aws:sns:us-east-1:123456789012:pollo-outcomes",
        _ => "a whole number of seconds, like 300, or 0 to switch the check of timestamps off",
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
        let optional = |variable| match lookup(variable) {
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
        let sdk = sdk::config(credentials, |variable| lookup(variable).ok().filter(|value| !value.is_empty()));
        Ok(Self { verifier, topic, sdk })
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

    fn read(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(|variable| {
            let lambdas = [(ACCESS_KEY, "AKIDEXAMPLE"), (SECRET_KEY, "p4ssw%rd"), (SESSION_TOKEN, "p4ssw%rd")];
            let found = environment.iter().chain(&lambdas).find(|(name, _)| *name == variable);
            found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
        })
    }

    fn refusal(environment: &[(&str, &str)]) -> String {
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
                let found = environment.iter().find(|(set, _)| *set == name && name != variable);
                found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
            })
            .unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{variable}: not set; expected the credentials of the function's role, which Lambda sets")
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
