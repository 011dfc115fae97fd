//! The whole function but for Lambda's runtime: real function-URL events in, real HTTP to an SNS of our own out.

#![allow(clippy::unwrap_used, missing_docs)]

mod answers;
mod authentic;
mod events;
mod failures;
mod function;
mod log_lines;
mod pollo;
mod properties;
mod secrets;
mod signer;
mod sns;
mod vectors;
mod wire;
