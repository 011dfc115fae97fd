//! Properties that hold for every input.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pollo_webhook::{TaskOutcome, Verifier, Webhook};
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::function::Function;
use crate::pollo::{KEY, KEY_BYTES, NOW, base64_event, event_at, now, sign};
use crate::sns::Reply;

/// The value of a header.
fn header_text() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]([ -~]{0,40}[!-~])?", "\\PC{1,20}", "[0-9]{1,25}", "msg_[0-9a-zA-Z]{27}"]
}

/// A timestamp within five minutes of now, in one of its three forms.
fn timestamp() -> impl Strategy<Value = String> {
    prop_oneof![
        (NOW - 300..=NOW + 300).prop_map(|seconds| seconds.to_string()),
        ((NOW - 300) * 1000..=(NOW + 300) * 1000).prop_map(|milliseconds| milliseconds.to_string()),
        (0_u8..5, 0_u8..60).prop_map(|(minute, second)| format!("2026-01-01T00:{minute:02}:{second:02}Z")),
    ]
}

/// Random text, and text that looks like a timestamp.
fn any_timestamp() -> impl Strategy<Value = String> {
    prop_oneof![
        timestamp(),
        header_text(),
        "[0-9+-]{0,3}[0-9]{1,20}([.eE][0-9+-]{0,4})?",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,12})?([Zz]|[+-][0-9]{2}:[0-9]{2})?",
    ]
}

/// Random bytes, and text that looks like an outcome.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let outcome_like = (
        prop_oneof!["\"[a-z0-9 ]{0,5}\"", "[0-9]{1,3}", "null", "\\[\\]", "\"\\\\u00[01][0-9]\""],
        prop_oneof!["\"succeed\"", "\"failed\"", "\"[a-z]{0,8}\"", "null"],
        prop_oneof!["", ",\"a\":[{}]", ",\"status\":\"failed\"", ",", "\\PC{0,10}"],
    )
        .prop_map(|(task_id, status, rest)| format!("{{\"taskId\":{task_id},\"status\":{status}{rest}}}").into_bytes());
    let outcome = ("[a-zA-Z0-9]{1,30}", prop::bool::ANY).prop_map(|(task_id, succeeded)| {
        let status = if succeeded { "succeed" } else { "failed" };
        json!({ "taskId": task_id, "status": status }).to_string().into_bytes()
    });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), outcome_like, outcome]
}

/// A key of sufficient length that does not consist of zeros.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 16..100).prop_filter("zeros", |key| key.iter().any(|&byte| byte != 0))
}

proptest! {
    #[test]
    fn accepts_a_webhook_signed_by_another_implementation(
        keys in prop::collection::vec(key(), 1..5),
        signer in any::<prop::sample::Index>(),
        id in header_text(),
        timestamp in timestamp(),
        body in prop::collection::vec(any::<u8>(), 0..1000),
    ) {
        let text = keys.iter().map(|key| STANDARD.encode(key)).collect::<Vec<_>>().join(",");
        let verifier = Verifier::new(&text, Duration::from_secs(300)).unwrap();
        let signature = sign(&keys[signer.index(keys.len())], &id, &timestamp, &body);
        let webhook = Webhook { id: &id, timestamp: &timestamp, signature: &signature, body: &body };
        let verified = verifier.verify(webhook).unwrap();
        prop_assert_eq!(verifier.check_timestamp(verified, now()).map(drop), Ok(()));
        prop_assert_eq!((verified.id, verified.timestamp, verified.body), (&*id, &*timestamp, &*body));
    }

    #[test]
    fn rejects_a_webhook_with_one_changed_bit(
        key in key(),
        id in header_text(),
        timestamp in timestamp(),
        body in any_body(),
        part in 0..4_usize,
        bit in any::<prop::sample::Index>(),
        tolerance in prop::sample::select(vec![0, 300]),
    ) {
        let signature = sign(&key, &id, &timestamp, &body);
        let mut parts = [id.into_bytes(), timestamp.into_bytes(), signature.into_bytes(), body];
        prop_assume!(!parts[part].is_empty());
        let bit = bit.index(parts[part].len() * 8);
        parts[part][bit / 8] ^= 1 << (bit % 8);
        let [id, timestamp, signature, body] = &parts;
        // The function rejects a header that is not UTF-8 before it verifies.
        let (Ok(id), Ok(timestamp), Ok(signature)) =
            (str::from_utf8(id), str::from_utf8(timestamp), str::from_utf8(signature))
        else {
            return Ok(());
        };
        let webhook = Webhook { id, timestamp, signature, body };
        let verifier = Verifier::new(&STANDARD.encode(&key), Duration::from_secs(tolerance)).unwrap();
        prop_assert!(verifier.verify(webhook).is_err());
    }

    #[test]
    fn no_key_text_panics(keys in "\\PC{0,60}|[A-Za-z0-9+/=_, \n-]{0,60}") {
        let _ = Verifier::new(&keys, Duration::ZERO);
    }

    #[test]
    fn accepts_no_empty_or_short_key(
        key in prop::collection::vec(any::<u8>(), 0..20),
        before in "[ ,\n]{0,2}(whsec_)?",
        after in "={0,3}[ ,\n]{0,2}",
    ) {
        let text = format!("{before}{}{after}", STANDARD.encode(&key).trim_end_matches('='));
        if let Ok(verifier) = Verifier::new(&text, Duration::ZERO) {
            let verifies = |key: &[u8]| {
                let signature = sign(key, "id", "0", b"{}");
                verifier.verify(Webhook { id: "id", timestamp: "0", signature: &signature, body: b"{}" }).is_ok()
            };
            prop_assert!(key.len() >= 16 && verifies(&key) && !verifies(b""), "{text:?}");
        }
    }

    #[test]
    fn no_tolerance_or_clock_panics(
        timestamp in any_timestamp(),
        tolerance in any::<u64>(),
        clock in 0..u64::from(u32::MAX),
    ) {
        let signature = sign(KEY_BYTES, "id", &timestamp, b"");
        let webhook = Webhook { id: "id", timestamp: &timestamp, signature: &signature, body: b"" };
        let verifier = Verifier::new(KEY, Duration::from_secs(tolerance)).unwrap();
        let verified = verifier.verify(webhook).unwrap();
        let _ = verifier.check_timestamp(verified, SystemTime::UNIX_EPOCH + Duration::from_secs(clock));
    }
}

/// Method, headers and body are random. The event is signed or not, and its body is text or Base64.
#[test]
fn no_event_panics_and_only_signed_outcomes_are_published() {
    let runtime = Runtime::new().unwrap();
    let function = runtime.block_on(Function::start(&[Reply::Accept]));
    let published = Cell::new(0);
    let events = (
        prop_oneof![4 => Just("POST".to_owned()), 1 => "[A-Z]{1,7}"],
        prop::option::weighted(0.9, header_text()),
        prop::option::weighted(0.9, header_text()),
        prop_oneof![2 => timestamp(), 1 => any_timestamp()],
        any_body(),
        any::<bool>(),
        prop::bool::weighted(0.7),
    );
    proptest!(|((method, id, signature, timestamp, body, base64, signed) in events)| {
        let mut event = match String::from_utf8(body.clone()) {
            Ok(text) if !base64 => event_at(&timestamp, &text),
            _ => base64_event(&body),
        };
        event["requestContext"]["http"]["method"] = json!(method);
        if !signed {
            event["headers"]["x-webhook-id"] = json!(id.unwrap_or_default());
            event["headers"]["x-webhook-signature"] = json!(signature.unwrap_or_default());
        }
        // `lambda_http` fails on header values that are invalid in HTTP.
        prop_assume!(lambda_http::request::from_str(&event.to_string()).is_ok());
        let response = runtime.block_on(function.receive(&event));

        let verifier = Verifier::new(KEY, Duration::ZERO).unwrap();
        let own = sign(KEY_BYTES, "id", "0", &body);
        let webhook = Webhook { id: "id", timestamp: "0", signature: &own, body: &body };
        let fresh = verifier.check_timestamp(verifier.verify(webhook).unwrap(), now()).unwrap();
        let is_outcome = TaskOutcome::parse(fresh).is_ok();
        if response.status == 200 {
            prop_assert!(signed && is_outcome && method == "POST");
            published.set(published.get() + 1);
            let calls = function.sns.calls();
            prop_assert_eq!(calls.last().unwrap().field("Message").unwrap().as_bytes(), &*body);
        }
        prop_assert_eq!(function.sns.calls().len(), published.get());
    });
    assert!(published.get() > 0, "no event was published, so this test checks too little");
}
