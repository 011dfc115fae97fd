//! What it costs to verify a webhook, beside a bare HMAC over the same bytes: `cargo bench --bench verification`.

#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, criterion_group, criterion_main};
use hmac::{Hmac, KeyInit as _, Mac as _};
use pollo_webhook::{Verifier, Webhook};
use sha2::Sha256;

const ID: &str = "msg_2b6f1c0e8d9a4f7b";
const TIMESTAMP: &str = "1767225600";
const SMALL: &[u8] = br#"{"taskId":"cm9ap1d4e0001","status":"succeed"}"#;

fn mac(key: &[u8], body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    for part in [ID.as_bytes(), b".", TIMESTAMP.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn verification(criterion: &mut Criterion) {
    let keys: Vec<Vec<u8>> = (0..3).map(|number| vec![number + 1; 32]).collect();
    let large = vec![b' '; 262_144];
    for (name, keys, signatures, body) in [
        ("one key and one signature", &keys[..1], 1, SMALL),
        ("three keys and ten signatures", &keys[..], 10, SMALL),
        ("256 KiB of body", &keys[..1], 1, &large),
    ] {
        let text: Vec<String> = keys.iter().map(|key| STANDARD.encode(key)).collect();
        let verifier = Verifier::new(&text.join(","), Duration::from_secs(300)).expect("keys");
        // The right one comes last.
        let signature = |number| match number == signatures {
            true => STANDARD.encode(mac(&keys[keys.len() - 1], body)),
            false => STANDARD.encode([number as u8; 32]),
        };
        let signature = (1..=signatures).map(signature).collect::<Vec<_>>().join(" ");
        let webhook = Webhook { id: ID, timestamp: TIMESTAMP, signature: &signature, body };
        let mut group = criterion.benchmark_group(name);
        group.bench_function("verify", |bencher| {
            bencher.iter(|| verifier.verify(black_box(webhook)).expect("authentic").body().len())
        });
        group.bench_function("bare HMAC", |bencher| bencher.iter(|| mac(black_box(&keys[0]), black_box(body))));
        group.finish();
    }
}

criterion_group!(benches, verification);
criterion_main!(benches);
