//! Test vectors from other sources. Each file names its source.

use std::time::Duration;

use pollo_webhook::{SignatureError, Verifier, Webhook};
use serde_json::Value;

use crate::pollo::sign;

fn verify_each(file: &str, expected: usize) {
    let file: Value = serde_json::from_str(file).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), expected);
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap();
        let verifier = Verifier::new(text("key"), Duration::ZERO).unwrap();
        let webhook = Webhook {
            id: text("id"),
            timestamp: text("timestamp"),
            signature: text("signature"),
            body: text("body").as_bytes(),
        };
        assert_eq!(verifier.verify(webhook).map(drop), Ok(()), "{}", text("case"));
        let longer = [webhook.body, b" "].concat();
        let changed = verifier.verify(Webhook { body: &longer, ..webhook });
        let mismatch = SignatureError { signatures: 1, keys: 1 };
        assert_eq!(changed.map(drop), Err(mismatch), "{}", text("case"));
    }
}

#[test]
fn accepts_the_signatures_of_pollos_samples() {
    verify_each(include_str!("../vectors/pollo.json"), 15);
}

#[test]
fn accepts_the_signatures_of_the_standard_webhooks_libraries() {
    verify_each(include_str!("../vectors/standard-webhooks.json"), 2);
}

/// The commands in `operate/` are tested with the same table.
#[test]
fn reads_keys_as_in_the_table() {
    let file: Value = serde_json::from_str(include_str!("../vectors/keys.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() > 50);
    for vector in vectors {
        let case = &vector["case"];
        match Verifier::new(vector["text"].as_str().unwrap(), Duration::ZERO) {
            Err(error) => assert_eq!(error.to_string(), vector["error"], "{case}"),
            Ok(verifier) => {
                let keys: Vec<_> = vector["keys"].as_array().expect("an error").iter().collect();
                assert_eq!(format!("{verifier:?}").matches("Hmac").count(), keys.len(), "{case}");
                for key in keys {
                    let signature = sign(&bytes(key.as_str().unwrap()), "id", "0", b"{}");
                    let webhook = Webhook { id: "id", timestamp: "0", signature: &signature, body: b"{}" };
                    assert!(verifier.verify(webhook).is_ok(), "{case}");
                }
            }
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
