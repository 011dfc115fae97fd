//! Any values of the three headers, one per line: id, timestamp, signature. `@` in the signature becomes the right MAC.

#![no_main]

use fuzz::receive;
use lambda_http::Body;
use lambda_http::http::{HeaderValue, Request};
use libfuzzer_sys::{Corpus, fuzz_target};
use signer::{KEY_BYTES, sign};

const BODY: &[u8] = br#"{"taskId":"cm9ap1d4e0001","status":"succeed"}"#;

fuzz_target!(|input: &[u8]| -> Corpus {
    let lines: Vec<&[u8]> = input.split(|&b| b == b'\n').collect();
    let [id, timestamp, signature] = lines[..] else { return Corpus::Reject };
    let mac = sign(KEY_BYTES, id, timestamp, BODY);
    let signature = signature.split(|&b| b == b'@').collect::<Vec<_>>().join(mac.as_bytes());
    let mut request = Request::post("/").body(Body::from(BODY)).expect("a request");
    for (name, value) in
        [("x-webhook-id", id), ("x-webhook-timestamp", timestamp), ("x-webhook-signature", &*signature)]
    {
        let Ok(value) = HeaderValue::from_bytes(value) else { return Corpus::Reject };
        request.headers_mut().insert(name, value);
    }
    receive(&request);
    Corpus::Keep
});
