//! Any event of a function URL, first unchanged and then with a valid signature.

#![no_main]

use std::panic;

use fuzz::{oracle, receive};
use lambda_http::Request;
use lambda_http::http::HeaderValue;
use libfuzzer_sys::{Corpus, fuzz_target};

const SAMPLE: &[u8] = include_bytes!("../../../events/succeed.json");

fuzz_target!(
    init: {
        assert!(convert(SAMPLE).is_some(), "the sample event cannot be converted: the target would test nothing");
    },
    |event: &[u8]| -> Corpus {
        let Some(mut request) = convert(event) else { return Corpus::Reject };
        receive(&request);
        let mac = oracle::Webhook::of(&request).mac();
        request.headers_mut().insert("x-webhook-signature", HeaderValue::try_from(mac).expect("Base64"));
        receive(&request);
        Corpus::Keep
    }
);

/// `lambda_http` panics on some events, and the runtime contains that. Any other panic is a finding: its hook aborts.
fn convert(event: &[u8]) -> Option<Request> {
    let abort = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let request = panic::catch_unwind(|| lambda_http::request::from_reader(event));
    panic::set_hook(abort);
    request.ok()?.ok()
}
