//! Does the time that a verification takes tell anything of the keys? Welch's t-test over very many verifications of two
//! kinds, which come in random order ("Dude, is my code constant time?", Reparaz, Balasch and Verbauwhede, 2016).
//!
//! |t| below 5 says that no difference was seen, and not that there is none. `an_early_exit` compares as one must not: it
//! has to come out far above 5, or else nothing was measured at all.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dudect_bencher::{BenchRng, Class, CtRunner, ctbench_main};
use hmac::{Hmac, KeyInit as _, Mac as _};
use pollo_webhook::{Verifier, Webhook};
use rand::RngExt as _;
use sha2::Sha256;

const SAMPLES: usize = 1_000_000;

const TIMESTAMP: &str = "1767225600";
const BODY: &[u8] = br#"{"taskId":"cm9ap1d4e0001","status":"succeed"}"#;
const KEYS: [&[u8]; 2] = [b"the key that is going", b"the key that is coming"];

fn tag(key: &[u8], id: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    for part in [id.as_bytes(), b".", TIMESTAMP.as_bytes(), b".", BODY] {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Takes the time of `run` over ids at random, with signature headers that `header` makes for either class.
fn measure(
    runner: &mut CtRunner,
    rng: &mut BenchRng,
    header: impl Fn(Class, &str, &mut BenchRng) -> String,
    run: impl Fn(&str, &str) -> bool,
) {
    // All are there before, and each is put into the same place before its time is taken, so that neither the caches nor
    // the prediction of branches tell of its class.
    let inputs: Vec<(Class, String, String)> = (0..SAMPLES)
        .map(|_| {
            let class = if rng.random() { Class::Left } else { Class::Right };
            let id = format!("msg_{:016x}", rng.random::<u64>());
            (class, header(class, &id, rng), id)
        })
        .collect();
    let (mut signature, mut id) = (String::new(), String::new());
    for (class, next_signature, next_id) in &inputs {
        signature.clone_from(next_signature);
        id.clone_from(next_id);
        runner.run_one(*class, || run(&id, &signature));
    }
}

fn verify(id: &str, signature: &str) -> bool {
    thread_local! {
        static VERIFIER: Verifier =
            Verifier::new(&KEYS.map(|key| STANDARD.encode(key)).join(","), Duration::from_secs(300)).expect("keys");
    }
    let webhook = Webhook { id, timestamp: TIMESTAMP, signature, body: BODY };
    VERIFIER.with(|verifier| verifier.verify(webhook).is_ok())
}

/// A signature whose first byte is wrong, or whose last is.
fn wrong_at_one_end(class: Class, id: &str, rng: &mut BenchRng) -> String {
    let mut tag = tag(KEYS[0], id);
    let end = match class {
        Class::Left => 0,
        Class::Right => tag.len() - 1,
    };
    tag[end] ^= rng.random_range(1..=255_u8);
    STANDARD.encode(tag)
}

/// A forger learns a signature byte by byte from a comparison that ends at the first wrong one.
fn the_first_wrong_byte(runner: &mut CtRunner, rng: &mut BenchRng) {
    measure(runner, rng, wrong_at_one_end, verify);
}

/// Which of two keys has signed: whether the old one is still in use.
fn the_key_that_matches(runner: &mut CtRunner, rng: &mut BenchRng) {
    let signed = |class, id: &str, _: &mut BenchRng| match class {
        Class::Left => STANDARD.encode(tag(KEYS[0], id)),
        Class::Right => STANDARD.encode(tag(KEYS[1], id)),
    };
    measure(runner, rng, signed, verify);
}

/// Which of two signatures is the right one.
fn the_signature_that_matches(runner: &mut CtRunner, rng: &mut BenchRng) {
    let among = |class, id: &str, rng: &mut BenchRng| {
        let right = STANDARD.encode(tag(KEYS[0], id));
        let wrong = STANDARD.encode(rng.random::<[u8; 32]>());
        match class {
            Class::Left => format!("{right} {wrong}"),
            Class::Right => format!("{wrong} {right}"),
        }
    };
    measure(runner, rng, among, verify);
}

/// What the first must not look like: the same work, and a comparison that ends at the first wrong byte.
fn an_early_exit(runner: &mut CtRunner, rng: &mut BenchRng) {
    let careless = |id: &str, signature: &str| {
        let decoded = STANDARD.decode(signature).unwrap_or_default();
        KEYS.iter().any(|key| tag(key, id).iter().zip(&decoded).all(|(ours, theirs)| ours == theirs))
    };
    measure(runner, rng, wrong_at_one_end, careless);
}

ctbench_main!(the_first_wrong_byte, the_key_that_matches, the_signature_that_matches, an_early_exit);
