//! Any body, with a valid signature.

#![no_main]

use fuzz::receive;
use lambda_http::Body;
use lambda_http::http::Request;
use libfuzzer_sys::fuzz_target;
use signer::{KEY_BYTES, NOW, sign};

fuzz_target!(|body: &[u8]| {
    let request = Request::post("/")
        .header("x-webhook-id", "msg_1")
        .header("x-webhook-timestamp", NOW)
        .header("x-webhook-signature", sign(KEY_BYTES, "msg_1", NOW.to_string(), body))
        .body(Body::from(body));
    receive(&request.expect("a request"));
});
