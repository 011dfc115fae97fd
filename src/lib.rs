//! An AWS Lambda function that turns Pollo AI's signed webhooks into messages on an SNS topic.
//!
//! Pollo AI calls a URL when a generation task ends. This function serves that URL: it verifies the signature over the
//! raw body, publishes the verified outcome, and responds 200 only after SNS has accepted the message. So Pollo's
//! retries cover every failure of the function and of SNS.
//!
//! ```text
//! Pollo ──POST──▶ function URL ──event──▶ verify ──▶ parse ──▶ SNS Publish ──▶ 200
//!                                           │401       │422        │503 + Retry-After
//! ```
//!
//! Data flows one way, and each type proves that a check has passed. Only a [`Verifier`] makes a [`VerifiedWebhook`]
//! and, from it, a [`FreshWebhook`]. Only a fresh webhook makes a [`TaskOutcome`]. Only an outcome can be published.
//!
//! ```
//! # use std::{error::Error, time::{Duration, SystemTime}};
//! # use pollo_webhook::{SnsPublisher, TaskOutcome, Verifier, Webhook};
//! # async fn f(verifier: &Verifier, publisher: &SnsPublisher, webhook: Webhook<'_>) -> Result<(), Box<dyn Error>> {
//! let verified = verifier.verify(webhook)?;
//! let fresh = verifier.check_timestamp(verified, SystemTime::now())?;
//! let outcome = TaskOutcome::parse(fresh)?;
//! let message_id = publisher.publish(&outcome, Duration::from_secs(7)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Code that skips a step does not compile. A webhook that is not verified, or not fresh, cannot be parsed:
//!
//! ```compile_fail,E0308
//! |webhook: pollo_webhook::Webhook<'static>| pollo_webhook::TaskOutcome::parse(webhook);
//! ```
//!
//! ```compile_fail,E0308
//! |verified: pollo_webhook::VerifiedWebhook<'static>| pollo_webhook::TaskOutcome::parse(verified);
//! ```
//!
//! A webhook that is not parsed cannot be published:
//!
//! ```compile_fail,E0308
//! # use pollo_webhook::{FreshWebhook, SnsPublisher};
//! async |sns: SnsPublisher, fresh: FreshWebhook<'static>| sns.publish(&fresh, std::time::Duration::MAX).await;
//! ```
//!
//! Other code cannot construct these types, because their fields are private:
//!
//! ```compile_fail,E0423
//! |webhook: pollo_webhook::Webhook<'static>| pollo_webhook::VerifiedWebhook(webhook);
//! ```
//!
//! ```compile_fail,E0423
//! |verified: pollo_webhook::VerifiedWebhook<'static>| pollo_webhook::FreshWebhook(verified);
//! ```
//!
//! ```compile_fail,E0451
//! # use pollo_webhook::{Status, TaskOutcome};
//! |outcome: TaskOutcome<'static>| TaskOutcome { status: Status::Failed, ..outcome };
//! ```

mod config;
mod handler;
pub mod log;
mod outcome;
mod sns;
mod topic;
mod webhook;

pub use config::{Config, ConfigError};
pub use handler::Handler;
pub use outcome::{MAX_TASK_ID_BYTES, OutcomeError, Status, TaskOutcome};
pub use sns::{MAX_MESSAGE_BYTES, PublishError, SnsPublisher};
pub use topic::TopicArn;
pub use webhook::{FreshWebhook, KeyError, SignatureError, TimestampError, VerifiedWebhook, Verifier, Webhook};
