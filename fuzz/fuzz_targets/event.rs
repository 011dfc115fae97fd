//! Any event of a function URL, first unchanged and then with a valid signature.

#![no_main]

use std::cell::Cell;
use std::panic;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fuzz::{oracle, receive};
use jiter::JsonValue;
use lambda_http::http::HeaderValue;
use lambda_http::{Body, Request};
use libfuzzer_sys::{Corpus, fuzz_target};

const SAMPLE: &[u8] = include_bytes!("../../events/succeed.json");

thread_local! {
    /// `lambda_http` panics on some events, and the runtime contains that. Any other panic is a finding.
    static CONVERTING: Cell<bool> = const { Cell::new(false) };
}

fuzz_target!(
    init: {
        let abort = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !CONVERTING.get() {
                abort(panic);
            }
        }));
        assert!(convert(SAMPLE).is_some(), "the sample event cannot be converted: the target would test nothing");
    },
    |event: &[u8]| -> Corpus {
        let Some(mut request) = convert(event) else { return Corpus::Reject };
        check_body(event, request.body());
        receive(&request);
        let mac = oracle::Webhook::of(&request).mac();
        request.headers_mut().insert("x-webhook-signature", HeaderValue::try_from(mac).expect("Base64"));
        receive(&request);
        Corpus::Keep
    }
);

fn convert(event: &[u8]) -> Option<Request> {
    CONVERTING.set(true);
    let request = panic::catch_unwind(|| lambda_http::request::from_reader(event));
    CONVERTING.set(false);
    request.ok()?.ok()
}

/// Checks that the body equals the body of the event, byte for byte.
fn check_body(event: &[u8], body: &Body) {
    let Some(event) = oracle::parse(event) else { return };
    let Ok(JsonValue::Object(fields)) = event else { panic!("an event that is not an object was converted") };
    let field = |name| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    match (field("body"), field("isBase64Encoded")) {
        (None | Some(JsonValue::Null), _) => assert!(body.is_empty()),
        (Some(JsonValue::Str(text)), Some(JsonValue::Bool(true))) => assert_eq!(*text, STANDARD.encode(body)),
        (Some(JsonValue::Str(text)), _) => assert_eq!(text.as_bytes(), &**body),
        (Some(other), _) => panic!("a body that is not a string was converted: {other:?}"),
    }
}
