//! Any value of `WEBHOOK_SECRET`.

#![no_main]

use std::time::Duration;

use fuzz::{allocated, sign};
use libfuzzer_sys::{Corpus, fuzz_target};
use pollo_webhook::{KeyError, Verifier, Webhook};

/// Most bytes that a text may allocate: a constant and a part per byte, twice the highest values measured.
const ALLOCATED_ALWAYS: usize = 4 << 10;
const ALLOCATED_PER_BYTE: usize = 256;

/// How many keys are tried. Each is compared with all, so hundreds would take seconds.
const TRIED: usize = 16;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(input) else { return Corpus::Reject };
    let (verifier, allocated) = allocated(|| Verifier::new(text, Duration::ZERO));
    let most = ALLOCATED_ALWAYS + ALLOCATED_PER_BYTE * text.len();
    assert!(allocated <= most, "{allocated} bytes were allocated for a text of {}", text.len());
    let (verifier, keys) = match (verifier, keys(text)) {
        (Ok(verifier), Ok(keys)) => (verifier, keys),
        (Err(error), Err(expected)) => {
            assert_eq!(error, expected);
            let message = match error {
                KeyError::Empty(number) => format!("key {number} is empty"),
                KeyError::NotBase64(number) => format!("key {number} is not Base64"),
                KeyError::TooShort(number, bytes) => format!("key {number} has {bytes} bytes; at least 16 are needed"),
                KeyError::Zeros(number) => format!("key {number} consists of zeros"),
            };
            assert_eq!(error.to_string(), message);
            return Corpus::Keep;
        }
        (verifier, keys) => panic!("{verifier:?}, but {keys:?}"),
    };
    assert_eq!(format!("{verifier:?}"), format!("Verifier {{ keys: [{} redacted], tolerance: 0ns }}", keys.len()));
    for key in keys.iter().take(TRIED) {
        assert!(verifies(&verifier, key), "a key does not verify its own signature");
    }
    assert!(!verifies(&verifier, b""), "the empty key verifies");
    Corpus::Keep
});

fn verifies(verifier: &Verifier, key: &[u8]) -> bool {
    let (id, timestamp, body) = ("msg_1", "0", b"{}");
    let signature = sign(key, id.as_bytes(), timestamp.as_bytes(), body);
    verifier.verify(Webhook { id, timestamp, signature: &signature, body }).is_ok()
}

fn keys(text: &str) -> Result<Vec<Vec<u8>>, KeyError> {
    // White space next to a comma does not separate twice.
    let commas = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ,", ",").replace(", ", ",");
    let numbered = commas.split([',', ' ']).zip(1..);
    let keys = numbered.map(|(text, number)| match decode(text) {
        _ if text.is_empty() => Err(KeyError::Empty(number)),
        None => Err(KeyError::NotBase64(number)),
        Some(key) if key.len() < 16 => Err(KeyError::TooShort(number, key.len())),
        Some(key) if key.iter().all(|&byte| byte == 0) => Err(KeyError::Zeros(number)),
        Some(key) => Ok(key),
    });
    keys.collect()
}

/// Decodes Base64 of either alphabet, bit by bit. Padding at the end is optional, and leftover bits are ignored. A
/// single leftover character is invalid.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut text = text.strip_prefix("whsec_").unwrap_or(text);
    while let Some(rest) = text.strip_suffix('=') {
        text = rest;
    }
    let mut bits = Vec::new();
    for b in text.bytes() {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits.extend((0..6).rev().map(|bit| value >> bit & 1));
    }
    if text.len() % 4 == 1 {
        return None;
    }
    Some(bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit)).collect())
}
