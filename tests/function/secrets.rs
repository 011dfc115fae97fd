//! No public type prints a key or a signature. `Function::receive` checks for every event that the log line and the
//! response do not contain them either.

use std::fmt::Debug;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pollo_webhook::{
    Config, ConfigError, FreshWebhook, Handler, NotATopicArn, SignatureMismatch, SnsPublisher, TaskOutcome, TopicArn,
    VerifiedWebhook, Verifier, Webhook,
};

use crate::failures::FAILURES;
use crate::function;
use crate::pollo::{KEY, NOW, SUCCEED, now, sign};
use crate::sns::{Reply, Sns};

const AWS_SECRET: &str = "aws/Secret+Access/Key";
const AWS_TOKEN: &str = "aws/Session+Token";

/// Returns what a type with `Debug` prints, or an empty text for a type without it.
struct Printed<'a, T>(&'a T);

impl<T: Debug> Printed<'_, T> {
    fn text(&self) -> String {
        format!("{0:?} {0:#?}", self.0)
    }
}

trait Unprintable {
    fn text(&self) -> String {
        String::new()
    }
}

impl<T> Unprintable for Printed<'_, T> {}

/// Adds the name of each value and its printed text to a list.
macro_rules! print {
    ($list:ident, $($value:ident),+) => {
        $($list.push((stringify!($value), Printed(&$value).text()));)+
    };
}

fn config(secret: &str, url: &str) -> Result<Config, ConfigError> {
    function::config(&[
        ("WEBHOOK_SECRET", secret),
        ("AWS_SECRET_ACCESS_KEY", AWS_SECRET),
        ("AWS_SESSION_TOKEN", AWS_TOKEN),
        ("AWS_ENDPOINT_URL_SNS", url),
    ])
}

/// The forms in which a secret could be printed.
fn spellings(secret: &[u8]) -> Vec<String> {
    let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = str::from_utf8(secret).ok().map(str::to_owned);
    [Some(STANDARD.encode(secret)), Some(numbers.join(", ")), Some(numbers.join(",\n    ")), Some(hex), text]
        .into_iter()
        .flatten()
        .collect()
}

#[tokio::test]
async fn no_public_type_prints_a_secret() {
    let key = STANDARD.decode(KEY).unwrap();
    let timestamp = NOW.to_string();
    let signature = sign(&key, "msg_1", &timestamp, SUCCEED.as_bytes());
    let other = sign(b"another", "msg_1", &timestamp, SUCCEED.as_bytes());
    let now = now();
    let webhook = |signature, body| Webhook { id: "msg_1", timestamp: &timestamp, signature, body };

    let mut printed: Vec<(&str, String)> = Vec::new();
    let Config { verifier, topic, .. } = config(KEY, "http://127.0.0.1:1").unwrap();
    let whole = config(KEY, "http://127.0.0.1:1").unwrap();
    let not_configured = config(&format!("{KEY}%"), "").unwrap_err();
    let bad_key = Verifier::new(&format!("{KEY}%"), Duration::ZERO).unwrap_err();
    let bad_topic: NotATopicArn = KEY.parse::<TopicArn>().unwrap_err();
    let verified: VerifiedWebhook<'_> = verifier.verify(webhook(&signature, SUCCEED.as_bytes())).unwrap();
    let fresh: FreshWebhook<'_> = verifier.check_timestamp(verified, now).unwrap();
    let outcome = TaskOutcome::parse(fresh).unwrap();
    let mismatch: SignatureMismatch = verifier.verify(webhook(&other, SUCCEED.as_bytes())).unwrap_err();
    let late = verifier.check_timestamp(verified, now + Duration::from_secs(301)).unwrap_err();
    let empty = sign(&key, "msg_1", &timestamp, b"[]");
    let no_outcome = verifier.verify(webhook(&empty, b"[]")).unwrap();
    let no_outcome = TaskOutcome::parse(verifier.check_timestamp(no_outcome, now).unwrap()).unwrap_err();
    let unverified = webhook(&signature, SUCCEED.as_bytes());
    let status = outcome.status();
    let said = [
        not_configured.to_string(),
        bad_key.to_string(),
        bad_topic.to_string(),
        mismatch.to_string(),
        late.to_string(),
        no_outcome.to_string(),
    ];
    print!(printed, verifier, topic, whole, not_configured, bad_key, bad_topic, said);
    print!(printed, unverified, verified, fresh, outcome, status, mismatch, late, no_outcome);
    for (failure, ..) in FAILURES {
        let sns = Sns::start(&[*failure]).await;
        let Config { topic, sdk, .. } = config(KEY, &sns.url).unwrap();
        print!(printed, sdk);
        let publisher = SnsPublisher::new(sdk, topic);
        print!(printed, publisher);
        let error = publisher.publish(&outcome).await.unwrap_err();
        let (said, message, code) = (error.to_string(), error.message(), error.code());
        print!(printed, error, said, message, code);
    }
    let sns = Sns::start(&[Reply::Accept]).await;
    let Config { verifier, topic, sdk } = config(KEY, &sns.url).unwrap();
    let handler = Handler::new(verifier, SnsPublisher::new(sdk, topic));
    print!(printed, handler);

    for secret in [&*key, &STANDARD.decode(&signature).unwrap(), &STANDARD.decode(&other).unwrap()].into_iter().chain([
        KEY.as_bytes(),
        AWS_SECRET.as_bytes(),
        AWS_TOKEN.as_bytes(),
    ]) {
        for spelling in spellings(secret) {
            for (name, text) in &printed {
                assert!(!text.contains(&spelling), "{name} prints a secret: {text}");
            }
        }
    }
    let verifier = printed.iter().find(|(name, _)| *name == "verifier").unwrap();
    assert!(verifier.1.contains("redacted"), "nothing was printed");
}

#[test]
fn the_check_finds_a_printed_key() {
    let key = STANDARD.decode(KEY).unwrap();
    for text in [format!("{key:?}"), format!("{key:#?}"), format!("{:?}", str::from_utf8(&key)), KEY.to_owned()] {
        assert!(spellings(&key).iter().any(|spelling| text.contains(spelling)), "{text}");
    }
}
