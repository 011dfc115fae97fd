//! Tests the function without Lambda's runtime. Input: function-URL events. Output: HTTP requests to a fake SNS.

#![allow(clippy::unwrap_used, missing_docs)]

mod authentic;
mod events;
mod failures;
mod function;
mod pollo;
mod responses;
mod sns;
mod vectors;
mod wire;
