//! Properties that hold for every input. The fuzz targets compare the function with second implementations.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pollo_webhook::{Verifier, Webhook};
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::function::Function;
use crate::pollo::{KEY, KEY_BYTES, NOW, base64_event, event_at, sign};
use crate::sns::Reply;

/// A timestamp within five minutes of now, in one of its three forms.
fn fresh_timestamp() -> impl Strategy<Value = String> {
    prop_oneof![
        (NOW - 300..=NOW + 300).prop_map(|seconds| seconds.to_string()),
        ((NOW - 300) * 1000..=(NOW + 300) * 1000).prop_map(|milliseconds| milliseconds.to_string()),
        (0_u8..5, 0_u8..60).prop_map(|(minute, second)| format!("2026-01-01T00:{minute:02}:{second:02}Z")),
    ]
}

/// A timestamp that is too old or unreadable.
fn bad_timestamp() -> impl Strategy<Value = String> {
    prop_oneof![(1..NOW - 300).prop_map(|seconds| seconds.to_string()), "[!-/:-~]{1,20}", "[0-9]{1,9}[.eE+][0-9]{1,4}"]
}

fn outcome() -> impl Strategy<Value = Vec<u8>> {
    let other_field = prop_oneof![Just(json!(null)), Just(json!([{}])), "\\PC{0,10}".prop_map(|text| json!(text))];
    ("[^\\p{C}]{1,30}", prop::sample::select(vec!["succeed", "failed"]), other_field).prop_map(
        |(task_id, status, a)| json!({ "taskId": task_id, "status": status, "a": a }).to_string().into_bytes(),
    )
}

/// Random bytes, and text that looks like an outcome but breaks one rule.
fn not_an_outcome() -> impl Strategy<Value = Vec<u8>> {
    let task_id = prop_oneof!["\"\\\\u00[01][0-9]\"", "[0-9]{1,3}", "null", "\\[\\]", "\"\""];
    let status = prop_oneof!["\"[a-e]{0,8}\"", "null", "\"succeed\",\"status\":\"failed\"", "\"succeed\","];
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        task_id.prop_map(|id| format!("{{\"taskId\":{id},\"status\":\"failed\"}}").into_bytes()),
        status.prop_map(|status| format!("{{\"taskId\":\"t1\",\"status\":{status}}}").into_bytes()),
    ]
}

/// A value, and whether it comes from the first strategy.
fn one_of<T: std::fmt::Debug>(
    good: impl Strategy<Value = T>,
    bad: impl Strategy<Value = T>,
) -> impl Strategy<Value = (T, bool)> {
    prop_oneof![3 => good.prop_map(|value| (value, true)), 1 => bad.prop_map(|value| (value, false))]
}

proptest! {
    #[test]
    fn one_changed_bit_makes_a_webhook_invalid(
        id in prop_oneof!["[!-~]([ -~]{0,40}[!-~])?", "\\PC{1,20}"],
        timestamp in fresh_timestamp(),
        body in outcome(),
        part in 0..4_usize,
        bit in any::<prop::sample::Index>(),
    ) {
        let verifier = Verifier::new(KEY, Duration::ZERO).unwrap();
        let signature = sign(KEY_BYTES, &id, &timestamp, &body);
        let webhook = Webhook { id: &id, timestamp: &timestamp, signature: &signature, body: &body };
        prop_assert!(verifier.verify(webhook).is_ok());
        let mut parts = [id.as_bytes(), timestamp.as_bytes(), signature.as_bytes(), &body].map(<[u8]>::to_vec);
        let bit = bit.index(parts[part].len() * 8);
        parts[part][bit / 8] ^= 1 << (bit % 8);
        // The handler rejects a header that is not UTF-8.
        let text = |part| str::from_utf8(part).map_err(|_| TestCaseError::reject("not UTF-8"));
        let [id, timestamp, signature, body] = &parts;
        let webhook = Webhook { id: text(id)?, timestamp: text(timestamp)?, signature: text(signature)?, body };
        prop_assert!(verifier.verify(webhook).is_err());
    }
}

/// `Function::receive` checks the log line and the response of each event.
#[test]
fn an_event_is_published_if_and_only_if_it_is_a_signed_fresh_outcome() {
    let runtime = Runtime::new().unwrap();
    let function = runtime.block_on(Function::start(&[Reply::Accept]));
    let events = (
        one_of(Just("POST".to_owned()), "[A-Z]{1,7}"),
        one_of(fresh_timestamp(), bad_timestamp()),
        one_of(outcome(), not_an_outcome()),
        // Wrong signatures, before and after the right one if there is one.
        (prop::collection::vec(any::<[u8; 32]>(), 0..6), any::<prop::sample::Index>(), prop::bool::weighted(0.8)),
        any::<bool>(),
    );
    proptest!(|((method, timestamp, body, (wrong, place, is_signed), base64) in events)| {
        let ((method, is_post), (timestamp, is_fresh), (body, is_outcome)) = (method, timestamp, body);
        let mut event = match String::from_utf8(body.clone()) {
            Ok(text) if !base64 => event_at(&timestamp, &text),
            _ => base64_event(&timestamp, &body),
        };
        event["requestContext"]["http"]["method"] = json!(method);
        let mut signatures: Vec<String> = wrong.iter().map(|mac| STANDARD.encode(mac)).collect();
        if is_signed {
            let right = event["headers"]["x-webhook-signature"].as_str().unwrap().to_owned();
            signatures.insert(place.index(signatures.len() + 1), right);
        }
        event["headers"]["x-webhook-signature"] = json!(signatures.join(" "));
        let calls = function.sns.calls().len();
        let response = runtime.block_on(function.receive(&event));
        let is_valid = is_post && is_fresh && is_outcome && is_signed;
        prop_assert_eq!(response.status == 200, is_valid, "{}", response.log);
        let new = &function.sns.calls()[calls..];
        prop_assert_eq!(new.len(), usize::from(is_valid));
        prop_assert!(new.iter().all(|call| call.field("Message").unwrap().as_bytes() == body));
    });
}
