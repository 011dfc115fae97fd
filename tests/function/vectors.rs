//! Known answers from outside. Each file says where its vectors are from.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use pollo_webhook::{SignatureMismatch, Verifier, Webhook};
use serde_json::Value;
use sha2::Sha256;

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
        let mismatch = SignatureMismatch { signatures: 1, keys: 1 };
        assert_eq!(changed.map(drop), Err(mismatch), "{}", text("case"));
    }
}

#[test]
fn of_pollos_own_samples() {
    verify_each(include_str!("../vectors/pollo.json"), 15);
}

#[test]
fn of_the_standard_webhooks_libraries() {
    verify_each(include_str!("../vectors/standard-webhooks.json"), 2);
}

/// The same table as for the commands in `operate/`.
#[test]
fn of_texts_of_keys() {
    let file: Value = serde_json::from_str(include_str!("../vectors/keys.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() > 50);
    for vector in vectors {
        let case = &vector["case"];
        match Verifier::new(vector["text"].as_str().unwrap(), Duration::ZERO) {
            Err(error) => assert_eq!(error.to_string(), vector["error"], "{case}"),
            Ok(verifier) => {
                let keys: Vec<_> = vector["keys"].as_array().expect("an error").iter().collect();
                assert!(format!("{verifier:?}").contains(&format!("[{} redacted]", keys.len())), "{case}");
                for key in keys {
                    let signature = sign(&bytes(key.as_str().unwrap()), "id", "0", b"{}");
                    let webhook = Webhook { id: "id", timestamp: "0", signature: &signature, body: b"{}" };
                    assert!(verifier.verify(webhook).is_ok(), "{case}");
                }
            }
        }
    }
}

/// RFC 4231, section 4: number of the case, key, data, HMAC-SHA-256. Case 5 has a truncated output.
fn rfc_4231() -> [(u8, Vec<u8>, Vec<u8>, &'static str); 6] {
    let long = "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be \
                hashed before being used by the HMAC algorithm.";
    [
        (1, vec![0x0b; 20], b"Hi There".into(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (
            2,
            b"Jefe".into(),
            b"what do ya want for nothing?".into(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (3, vec![0xaa; 20], vec![0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (4, (1..=25).collect(), vec![0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        (
            6,
            vec![0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First".into(),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (7, vec![0xaa; 131], long.into(), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
    ]
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn of_rfc_4231_for_the_hmac() {
    for (case, key, data, tag) in rfc_4231() {
        let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(&data).finalize();
        assert_eq!(mac.into_bytes().as_slice(), bytes(tag), "case {case}");
    }
}

#[test]
fn of_rfc_4231_for_the_verifier() {
    // The data of case 7 happens to have two dots.
    let [.., (7, key, data, tag)] = rfc_4231() else { panic!("case 7 is the last") };
    let [id, timestamp, body] = str::from_utf8(&data).unwrap().split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts")
    };
    let verifier = Verifier::new(&STANDARD.encode(key), Duration::ZERO).unwrap();
    let signature = STANDARD.encode(bytes(tag));
    let webhook = Webhook { id, timestamp, signature: &signature, body: body.as_bytes() };
    assert_eq!(verifier.verify(webhook).map(drop), Ok(()));
}
