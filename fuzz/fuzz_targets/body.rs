//! Any body, with a valid signature.
//!
//! An outcome with `<` after it is padded with spaces to the largest message that SNS accepts. `>` pads it to one byte
//! more. Valid JSON never ends with either.

#![no_main]

use fuzz::oracle::{self, Webhook};
use fuzz::{NOW, receive};
use lambda_http::Body;
use lambda_http::http::Request;
use libfuzzer_sys::fuzz_target;
use pollo_webhook::MAX_MESSAGE_BYTES;

const ID: &str = "msg_1";

fuzz_target!(|input: &[u8]| {
    let timestamp = NOW.to_string();
    let webhook = |body| Webhook { id: ID.as_bytes(), timestamp: timestamp.as_bytes(), signature: b"", body };
    let mut body = input.to_vec();
    if let [start @ .., end @ (b'<' | b'>')] = input
        && let oracle::Body::Outcome(outcome) = oracle::read(start)
    {
        let spaces = MAX_MESSAGE_BYTES.saturating_sub(outcome.size(&webhook(start))) + usize::from(*end == b'>');
        body = [start, &vec![b' '; spaces]].concat();
    }
    let request = Request::post("/")
        .header("x-webhook-id", ID)
        .header("x-webhook-timestamp", &timestamp)
        .header("x-webhook-signature", webhook(&body).mac())
        .body(Body::from(body));
    receive(&request.expect("a request"));
});
