//! An AWS Lambda function that turns Pollo AI's signed webhooks into messages on an SNS topic.
//!
//! Pollo AI calls a URL when a video generation task ends. This function is that URL: it checks the signature over the
//! raw bytes and publishes the verified outcome. Pollo is answered 200 only after SNS has accepted the message, so its
//! retries cover every failure on our side.
//!
//! ```text
//! Pollo ──POST──▶ function URL ──event──▶ verify ──▶ parse ──▶ SNS Publish ──▶ 200
//!                                           │401       │422        │503 + Retry-After
//! ```
//!
//! Data goes one way, and the types carry the proof: only a [`Verifier`] makes a [`VerifiedWebhook`], only that makes a
//! [`TaskOutcome`], and only that can be published.
//!
//! ```
//! # use std::time::SystemTime;
//! # use pollo_webhook::{SnsPublisher, TaskOutcome, Verifier, Webhook};
//! # async fn f(verifier: &Verifier, publisher: &SnsPublisher, webhook: Webhook<'_>) -> Result<(), Box<dyn std::error::Error>> {
//! let verified = verifier.verify(webhook, SystemTime::now())?;
//! let outcome = TaskOutcome::parse(verified)?;
//! let message_id = publisher.publish(&outcome).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A step that is left out does not compile. A body that was not verified cannot be parsed:
//!
//! ```compile_fail,E0308
//! # use pollo_webhook::{TaskOutcome, Webhook};
//! # fn f(webhook: Webhook<'_>) {
//! TaskOutcome::parse(webhook);
//! # }
//! ```
//!
//! nor can the proof be made by hand:
//!
//! ```compile_fail,E0451
//! # use pollo_webhook::VerifiedWebhook;
//! let forged = VerifiedWebhook { id: "msg_1", timestamp: "0", body: b"{}" };
//! ```
//!
//! What was not parsed cannot be published:
//!
//! ```compile_fail,E0308
//! # use pollo_webhook::{SnsPublisher, VerifiedWebhook};
//! # async fn f(publisher: &SnsPublisher, verified: VerifiedWebhook<'_>) {
//! publisher.publish(&verified).await;
//! # }
//! ```
//!
//! and an outcome cannot be made by hand either:
//!
//! ```compile_fail,E0451
//! # use pollo_webhook::{Status, TaskOutcome, VerifiedWebhook};
//! # fn f(webhook: VerifiedWebhook<'_>) {
//! TaskOutcome { task_id: String::new(), status: Status::Succeed, message: "", webhook };
//! # }
//! ```
//!
//! Nor can either be changed: all their fields are private.
//!
//! # Answers
//!
//! | status | when | `result` in the log |
//! |---|---|---|
//! | 200 | SNS accepted the message; the body names its id | `published` |
//! | 400 | a webhook header is missing or unreadable | `header_missing`, `header_unreadable`, `timestamp_unreadable` |
//! | 401 | no key matches, or the timestamp is outside the tolerance | `signature_mismatch`, `timestamp_outside_tolerance` |
//! | 405 | the method is not POST (`Allow: POST`) | `method_not_allowed` |
//! | 413 | the message is larger than SNS takes: 262,144 bytes with its attributes | `too_large` |
//! | 422 | authentic, but no task outcome; the log keeps the whole body | `not_an_outcome` |
//! | 503 | SNS did not accept the message, for whatever reason (`Retry-After`) | `not_published` |
//!
//! # Environment
//!
//! | variable | | default |
//! |---|---|---|
//! | `WEBHOOK_SECRET` | the Base64 key from Pollo's webhook page, or several separated by commas | required |
//! | `SNS_TOPIC_ARN` | the topic that outcomes go to; a name that ends in `.fifo` is a FIFO topic | required |
//! | `WEBHOOK_TOLERANCE_SECONDS` | how far a timestamp may lie from now, to either side; `0` switches the check off, and any judgement of the timestamp's form | `300` |
//!
//! Of AWS's own variables: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, which Lambda sets;
//! `AWS_ENDPOINT_URL_SNS` and `AWS_ENDPOINT_URL`; `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT`. And
//! `SSL_CERT_FILE` and `SSL_CERT_DIR`, which name roots to trust in place of Amazon's.

mod config;
mod handler;
pub mod log;
mod outcome;
mod publisher;
mod sdk;
mod signature;
mod topic;

pub use config::{Config, ConfigError};
pub use handler::Handler;
pub use outcome::{MAX_MESSAGE_BYTES, MAX_TASK_ID_BYTES, NotAnOutcome, Status, TaskOutcome};
pub use publisher::{PublishError, SnsPublisher};
pub use signature::{KeyError, SignatureError, VerifiedWebhook, Verifier, Webhook};
pub use topic::{NotATopicArn, TopicArn};

/// An example for each field of the two proofs, none of which may compile.
#[cfg(doctest)]
mod private {
    macro_rules! field {
        ($proof:ident, $field:ident) => {
            #[doc = "```compile_fail,E0616"]
            #[doc = concat!("fn f(proof: &pollo_webhook::", stringify!($proof), "<'_>) {")]
            #[doc = concat!("    let _ = &proof.", stringify!($field), ";")]
            #[doc = "}\n```"]
            mod $field {}
        };
    }
    field!(VerifiedWebhook, id);
    field!(VerifiedWebhook, timestamp);
    field!(VerifiedWebhook, body);
    field!(TaskOutcome, task_id);
    field!(TaskOutcome, status);
    field!(TaskOutcome, message);
    field!(TaskOutcome, webhook);
}
