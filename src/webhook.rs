//! Checks that Pollo signed a webhook, and then that the webhook's timestamp is recent.
//!
//! Pollo signs `id.timestamp.body` with HMAC-SHA-256 and sends the Base64 of the MAC in `X-Webhook-Signature`, as its
//! webhook page describes. This module does no I/O and reads no clock.

use std::fmt;
use std::ops::Deref;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

/// Length of an HMAC-SHA-256, in bytes.
const MAC_BYTES: usize = 32;
/// Shortest key that is accepted, in bytes. Shorter ones can be guessed, and words like `null`, `test` or `changeme`
/// are valid Base64. Standard Webhooks asks for 24 to 64 bytes; the one key of Pollo's seen in public has 33.
const MIN_KEY_BYTES: usize = 16;
/// Most signatures of one header that are compared. Pollo sends one, or two while a key is rotated. The bound limits
/// the cost of a hostile header.
const MAX_SIGNATURES: usize = 32;
/// Numbers below this are Unix seconds (until the year 5138), the others Unix milliseconds (from 1973 on).
const FIRST_MILLISECONDS: u64 = 100_000_000_000;
const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Base64 as Node's and Python's decoders read it: trailing bits are ignored.
const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Why key text was rejected. The text of a key is never repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {number} {problem}")]
pub struct KeyError {
    /// Which key was rejected, counted from one.
    pub number: usize,
    /// How many keys were read. White space inside a key makes it two.
    pub keys: usize,
    problem: String,
}

/// No key matches: the webhook is not authentic. The error text is for the log. It distinguishes a wrong key from a
/// malformed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", match .signatures {
    0 => "no signature in the header is the Base64 of 32 bytes".to_owned(),
    _ => format!("none of {signatures} signatures matches any of {keys} keys"),
})]
pub struct SignatureError {
    /// How many tokens of the header are the Base64 of 32 bytes; at most 32 are counted.
    pub signatures: usize,
    /// How many keys each signature was compared with.
    pub keys: usize,
}

/// Why the timestamp of an authentic webhook was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// The timestamp has no supported format.
    #[error("timestamp is not Unix seconds, Unix milliseconds or RFC 3339")]
    Unreadable,
    /// The webhook is too old, or its timestamp is too far in the future.
    #[error("timestamp is outside the tolerance")]
    OutsideTolerance {
        /// Rounded away from zero. Negative if the timestamp is in the future.
        age_seconds: i64,
    },
}

/// A webhook as received, before any check.
#[derive(Clone, Copy)]
pub struct Webhook<'a> {
    /// `X-Webhook-Id`
    pub id: &'a str,
    /// `X-Webhook-Timestamp`
    pub timestamp: &'a str,
    /// `X-Webhook-Signature`
    pub signature: &'a str,
    /// The raw body.
    pub body: &'a [u8],
}

impl fmt::Debug for Webhook<'_> {
    /// Without the signature, and without the body, whose links to results need no login.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({:?}, {:?}, {} bytes)", self.id, self.timestamp, self.body.len())
    }
}

/// An authentic webhook: one of the keys has signed it. Only [`Verifier::verify`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedWebhook<'a>(Webhook<'a>);

/// An authentic webhook whose timestamp is within the tolerance. Only [`Verifier::check_timestamp`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct FreshWebhook<'a>(VerifiedWebhook<'a>);

impl<'a> Deref for VerifiedWebhook<'a> {
    type Target = Webhook<'a>;

    fn deref(&self) -> &Webhook<'a> {
        &self.0
    }
}

impl<'a> Deref for FreshWebhook<'a> {
    type Target = VerifiedWebhook<'a>;

    fn deref(&self) -> &VerifiedWebhook<'a> {
        &self.0
    }
}

/// The keys, and the tolerance for timestamps. Keeps two SHA-256 states per key. The decoded bytes of a key are wiped
/// from memory.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<Hmac<Sha256>>,
    tolerance: Duration,
}

impl Verifier {
    /// Reads one or several keys, separated by commas or white space. A signature by any of them is accepted.
    ///
    /// A key is Base64 of at least 16 bytes. Missing padding, trailing bits, the URL-safe alphabet and a `whsec_`
    /// prefix are accepted. A timestamp may differ from now by `tolerance` in either direction; zero disables that
    /// check, including parsing.
    pub fn new(keys: &str, tolerance: Duration) -> Result<Self, KeyError> {
        let mut texts = Vec::new();
        for part in keys.split(',') {
            match part.trim() {
                "" => texts.push(""),
                part => texts.extend(part.split_whitespace()),
            }
        }
        let mut macs = Vec::with_capacity(texts.len());
        for (number, text) in (1..).zip(&texts) {
            let key = decode_key(text).map_err(|problem| KeyError { number, keys: texts.len(), problem })?;
            macs.push(Hmac::new_from_slice(&key).expect("an HMAC takes a key of any length"));
        }
        Ok(Self { keys: macs, tolerance })
    }

    /// Checks that one of the keys has signed `webhook`.
    ///
    /// Every key is compared with every signature, without an early exit. The time depends on the length of the input
    /// and on the numbers of signatures and keys, but not on their values.
    pub fn verify<'a>(&self, webhook: Webhook<'a>) -> Result<VerifiedWebhook<'a>, SignatureError> {
        let signatures = decode_signatures(webhook.signature);
        let mut authentic = Choice::from(0);
        for key in &self.keys {
            let mut mac = key.clone();
            for part in [webhook.id.as_bytes(), b".", webhook.timestamp.as_bytes(), b".", webhook.body] {
                mac.update(part);
            }
            let mac = mac.finalize().into_bytes();
            for signature in &signatures {
                authentic |= mac.ct_eq(signature);
            }
        }
        let error = SignatureError { signatures: signatures.len(), keys: self.keys.len() };
        if authentic.into() { Ok(VerifiedWebhook(webhook)) } else { Err(error) }
    }

    /// Checks that the timestamp of an authentic webhook is near `now`. Accepts any timestamp if the tolerance is zero.
    pub fn check_timestamp<'a>(
        &self,
        webhook: VerifiedWebhook<'a>,
        now: SystemTime,
    ) -> Result<FreshWebhook<'a>, TimestampError> {
        if !self.tolerance.is_zero() {
            let sent = parse_timestamp(webhook.timestamp).ok_or(TimestampError::Unreadable)?;
            let age = OffsetDateTime::from(now).unix_timestamp_nanos() - sent;
            if age.unsigned_abs() > self.tolerance.as_nanos() {
                let seconds = age.unsigned_abs().div_ceil(NANOS_PER_SECOND.unsigned_abs()) as i64;
                return Err(TimestampError::OutsideTolerance { age_seconds: seconds * age.signum() as i64 });
            }
        }
        Ok(FreshWebhook(webhook))
    }
}

/// The bytes of a key, or what is wrong with it.
fn decode_key(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    let text = text.strip_prefix("whsec_").unwrap_or(text);
    // Allocated in full size: a string that grows leaves copies that are not wiped.
    let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
    base64.extend(text.chars().map(|c| match c {
        '-' => '+',
        '_' => '/',
        c => c,
    }));
    let key = LENIENT_BASE64.decode(base64.trim_end_matches('=')).map_err(|_| "is not Base64")?;
    match Zeroizing::new(key) {
        key if key.len() < MIN_KEY_BYTES => {
            Err(format!("has {} bytes; at least {MIN_KEY_BYTES} are needed", key.len()))
        }
        // HMAC pads keys with zeros, so this key is equivalent to the empty one, with which anyone can sign.
        key if key.iter().all(|&byte| byte == 0) => Err("consists of zeros".to_owned()),
        key => Ok(key),
    }
}

/// The signatures in a header, which are separated by spaces or commas. A token that is not the Base64 of 32 bytes,
/// such as the tag `v1`, is ignored.
///
/// Unlike for a key, the Base64 is strict: each signature has exactly one encoding, so every changed bit is detected.
fn decode_signatures(header: &str) -> Vec<[u8; MAC_BYTES]> {
    header
        .split([' ', ','])
        .filter_map(|token| {
            // 44 characters decode to 33 bytes at most.
            let mut bytes = [0; MAC_BYTES + 1];
            match general_purpose::STANDARD.decode_slice(token, &mut bytes) {
                Ok(MAC_BYTES) => bytes.first_chunk().copied(),
                _ => None,
            }
        })
        .take(MAX_SIGNATURES)
        .collect()
}

/// Nanoseconds since the Unix epoch of Unix seconds, Unix milliseconds or an RFC 3339 date with its offset.
///
/// Pollo's page does not name the unit. The parser is strict (no sign, leading zero, space or exponent), because
/// `id.timestamp.body` split at another dot has the same signature. The text in the place of the timestamp must then
/// not parse.
fn parse_timestamp(text: &str) -> Option<i128> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let number: u64 = text.parse().ok().filter(|_| text == "0" || !text.starts_with('0'))?;
        let nanos_per_unit = if number < FIRST_MILLISECONDS { NANOS_PER_SECOND } else { NANOS_PER_SECOND / 1_000 };
        return Some(i128::from(number) * nanos_per_unit);
    }
    // `time` accepts any separator between date and time; RFC 3339 has `T`.
    let has_separator = matches!(text.as_bytes().get(10), Some(b'T' | b't'));
    let date = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| has_separator)?;
    Some(date.unix_timestamp_nanos())
}

/// A webhook with `body`, as if it had passed both checks.
#[cfg(test)]
pub(crate) fn fresh(body: &[u8]) -> FreshWebhook<'_> {
    FreshWebhook(VerifiedWebhook(Webhook { id: "msg_1", timestamp: "1767225600", signature: "", body }))
}

#[cfg(test)]
mod tests {
    use signer::{KEY, KEY_BYTES, NOW, sign};

    use super::*;

    const OTHER_KEY: &str = "YW5vdGhlciBrZXkgb2YgUG9sbG8ncw==";
    const BODY: &[u8] = br#"{"taskId":"t1","status":"succeed"}"#;

    fn at(unix_seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(unix_seconds)
    }

    fn key_bytes(text: &str) -> Vec<u8> {
        general_purpose::STANDARD.decode(text).unwrap()
    }

    fn verify_with(keys: &str, signature: &str) -> Result<(), SignatureError> {
        let webhook = Webhook { id: "msg_1", timestamp: "1767225600", signature, body: BODY };
        Verifier::new(keys, Duration::ZERO).unwrap().verify(webhook).map(drop)
    }

    fn signed_with(key: &str) -> String {
        sign(&key_bytes(key), "msg_1", "1767225600", BODY)
    }

    /// Checks the timestamp of an authentic webhook, with a tolerance of 300 seconds.
    fn check(timestamp: &str) -> Result<(), TimestampError> {
        check_within(Duration::from_secs(300), timestamp, at(NOW))
    }

    fn check_within(tolerance: Duration, timestamp: &str, now: SystemTime) -> Result<(), TimestampError> {
        let signature = sign(KEY_BYTES, "msg_1", timestamp, BODY);
        let webhook = Webhook { id: "msg_1", timestamp, signature: &signature, body: BODY };
        let verifier = Verifier::new(KEY, tolerance).unwrap();
        verifier.check_timestamp(verifier.verify(webhook).unwrap(), now).map(drop)
    }

    #[test]
    fn accepts_a_signed_webhook_and_keeps_it_unchanged() {
        let verifier = Verifier::new(KEY, Duration::from_secs(300)).unwrap();
        let signature = signed_with(KEY);
        let webhook = Webhook { id: "msg_1", timestamp: "1767225600", signature: &signature, body: BODY };
        let verified = verifier.verify(webhook).unwrap();
        assert_eq!((verified.id, verified.timestamp, verified.body), ("msg_1", "1767225600", BODY));
    }

    #[test]
    fn rejects_another_key_id_timestamp_body_or_signature() {
        let verifier = Verifier::new(KEY, Duration::from_secs(300)).unwrap();
        let signature = signed_with(KEY);
        let webhook = Webhook { id: "msg_1", timestamp: "1767225600", signature: &signature, body: BODY };
        let other_signature = signed_with(OTHER_KEY);
        for changed in [
            Webhook { id: "msg_2", ..webhook },
            Webhook { timestamp: "1767225601", ..webhook },
            Webhook { body: br#"{"taskId":"t2","status":"succeed"}"#, ..webhook },
            Webhook { body: b"", ..webhook },
            Webhook { signature: &other_signature, ..webhook },
            Webhook { signature: "", ..webhook },
        ] {
            assert!(verifier.verify(changed).is_err());
        }
    }

    #[test]
    fn verifies_id_and_timestamp_byte_for_byte() {
        let verifier = Verifier::new(KEY, Duration::ZERO).unwrap();
        let (id, timestamp) = (" MSG\u{a0}é/1 ", " 01 ");
        let signature = &*sign(KEY_BYTES, id, timestamp, BODY);
        let verified = verifier.verify(Webhook { id, timestamp, signature, body: BODY }).unwrap();
        assert_eq!((verified.id, verified.timestamp), (id, timestamp));
        for (id, timestamp) in [(id.trim(), timestamp), (id, timestamp.trim()), (&*id.to_lowercase(), timestamp)] {
            let changed = Webhook { id, timestamp, signature, body: BODY };
            assert!(verifier.verify(changed).is_err());
        }
    }

    #[test]
    fn a_key_error_says_which_key_of_how_many() {
        for (keys, number, read, text) in [
            ("", 1, 1, "key 1 is empty"),
            (&format!("{KEY},"), 2, 2, "key 2 is empty"),
            (&format!("{KEY}\nQU$D,{KEY}"), 2, 3, "key 2 is not Base64"),
            ("cG9sbG8td2ViaG9v ay1wdWJsaXNoZWQtdGVzdC1rZXk=", 1, 2, "key 1 has 12 bytes; at least 16 are needed"),
            (&"A".repeat(24), 1, 1, "key 1 consists of zeros"),
        ] {
            let error = Verifier::new(keys, Duration::ZERO).unwrap_err();
            assert_eq!((error.number, error.keys, error.to_string()), (number, read, text.to_owned()), "{keys:?}");
        }
    }

    #[test]
    fn accepts_any_of_several_keys() {
        const THIRD_KEY: &str = "YSB0aGlyZCBrZXksIGFzIGxvbmc=";
        for separators in [[", ", " ,"], [",", ","], [" ", "  "], ["\n", "\r\n"], ["\t", ",\n"]] {
            let keys = format!("{OTHER_KEY}{}{KEY}{}{THIRD_KEY}", separators[0], separators[1]);
            for key in [OTHER_KEY, KEY, THIRD_KEY] {
                assert_eq!(verify_with(&keys, &signed_with(key)), Ok(()), "{keys:?}");
            }
            let mismatch = SignatureError { signatures: 1, keys: 3 };
            assert_eq!(verify_with(&keys, &signed_with("Zm91cnRo")), Err(mismatch), "{keys:?}");
        }
    }

    #[test]
    fn finds_the_right_signature_among_several() {
        let (right, wrong) = (signed_with(KEY), signed_with(OTHER_KEY));
        for header in [
            right.clone(),
            format!("v1,{right}"),
            format!("{wrong} {right}"),
            format!("{right},{wrong}"),
            format!("{wrong}, {right}"),
            format!("v1,{wrong} v1,{right}"),
            format!("v1a,{wrong},v1,{right}"),
            format!("rubbish $$$ AAAA {right}"),
        ] {
            assert_eq!(verify_with(KEY, &header), Ok(()), "{header}");
        }
    }

    #[test]
    fn ignores_a_token_that_is_not_the_base64_of_32_bytes() {
        let right = signed_with(KEY);
        for header in [
            &right[..43],
            &format!("{right}="),
            &format!("{right}AAAA"),
            &format!("v1{right}"),
            &format!("v1={right}"),
            &format!("{right}\n"),
            "v1",
            "v1,",
            ",",
            " ",
            "é",
            &"=".repeat(44),
            &"A".repeat(10_000),
        ] {
            assert!(verify_with(KEY, header).is_err(), "{header}");
        }
    }

    #[test]
    fn accepts_one_encoding_of_a_signature_only() {
        // Two bits of the last character before the padding are unused.
        let right = signed_with(KEY);
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let accepted = alphabet.chars().filter(|c| verify_with(KEY, &format!("{}{c}=", &right[..42])).is_ok()).count();
        assert_eq!(accepted, 1);
    }

    #[test]
    fn compares_no_more_than_32_signatures() {
        let (right, wrong) = (signed_with(KEY), signed_with(OTHER_KEY));
        let among = |others| format!("{}{right}", format!("{wrong} ").repeat(others));
        assert_eq!(verify_with(KEY, &among(31)), Ok(()));
        assert_eq!(verify_with(KEY, &among(32)), Err(SignatureError { signatures: 32, keys: 1 }));
        assert_eq!(verify_with(KEY, &format!("{}{right}", "v1,rubbish ".repeat(100))), Ok(()));
    }

    #[test]
    fn reads_seconds_milliseconds_and_rfc_3339() {
        for timestamp in [
            "1767225600",
            "1767225600000",
            "1767225600999",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.123456789Z",
            "2026-01-01T02:00:00+02:00",
            "2025-12-31T19:30:00.5-04:30",
        ] {
            assert_eq!(check(timestamp), Ok(()), "{timestamp}");
        }
    }

    #[test]
    fn accepts_the_tolerance_to_either_side_and_not_a_millisecond_more() {
        for timestamp in ["1767225300", "1767225900", "1767225300000", "1767225900000", "2025-12-31T23:55:00Z"] {
            assert_eq!(check(timestamp), Ok(()), "{timestamp}");
        }
        for timestamp in
            ["1767225299", "1767225901", "1767225299999", "1767225900001", "2026-01-01T00:05:00.000000001Z"]
        {
            assert!(matches!(check(timestamp), Err(TimestampError::OutsideTolerance { .. })), "{timestamp}");
        }
    }

    #[test]
    fn reads_numbers_as_seconds_up_to_the_year_5138() {
        let tolerance = Duration::from_secs(99_999_999_999 - NOW);
        assert_eq!(check_within(tolerance, "99999999999", at(NOW)), Ok(()));
        // In milliseconds this is 1973.
        let tolerance = Duration::from_secs(NOW - 100_000_000);
        assert_eq!(check_within(tolerance, "100000000000", at(NOW)), Ok(()));
    }

    #[test]
    fn survives_every_number_and_date() {
        for (timestamp, age_seconds) in [
            ("0", 1_767_225_600),
            ("1", 1_767_225_599),
            ("9223372036854775806", -9_223_370_269_629_176),
            ("9223372036854775807", -9_223_370_269_629_176),
            ("9223372036854775808", -9_223_370_269_629_176),
            ("18446744073709551615", -18_446_742_306_483_952),
            ("0000-01-01T00:00:00Z", 63_934_444_800),
            ("0001-01-01T00:00:00Z", 63_902_822_400),
            ("9999-12-31T23:59:59.999999999Z", -251_635_075_200),
            ("9999-12-31T23:59:59-23:59", -251_635_161_539),
        ] {
            let outside = Err(TimestampError::OutsideTolerance { age_seconds });
            assert_eq!(check(timestamp), outside, "{timestamp}");
            let widest = check_within(Duration::MAX, timestamp, at(NOW));
            assert_eq!(widest, Ok(()), "{timestamp}");
        }
    }

    #[test]
    fn reads_nothing_else_as_a_timestamp() {
        for timestamp in [
            "01767225600",
            "00",
            "+1767225600",
            "-1767225600",
            "-1",
            "1767225600.0",
            "1767225600.",
            ".1767225600",
            "1767225600e0",
            "1e9",
            "0x69558B80",
            "1_767_225_600",
            " 1767225600",
            "1767225600 ",
            "１７６７２２５６００",
            "NaN",
            "inf",
            "Infinity",
            "18446744073709551616",
            &"1".repeat(400),
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00Z",
            "20260101T000000Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T00:00:00+24:00",
            "+2026-01-01T00:00:00Z",
            "Thu, 01 Jan 2026 00:00:00 GMT",
        ] {
            assert_eq!(check(timestamp), Err(TimestampError::Unreadable), "{timestamp:?}");
        }
    }

    #[test]
    fn checks_no_timestamp_if_the_tolerance_is_zero() {
        for timestamp in ["0", "1e9", "yesterday", "01767225600"] {
            assert_eq!(check_within(Duration::ZERO, timestamp, at(NOW)), Ok(()), "{timestamp}");
        }
    }

    #[test]
    fn rejects_a_message_split_at_another_dot() {
        // `a.1767225600` . `1767225600` . body, read as `a` . `1767225600` . `1767225600.body` has the same signature.
        let verifier = Verifier::new(KEY, Duration::from_secs(300)).unwrap();
        let body = br#"{"taskId":"a.b","status":"succeed"}"#;
        let signature = sign(KEY_BYTES, "id.with.dots", "1767225600", body);
        for (id, timestamp, body) in [
            ("id", "with", &br#"dots.1767225600.{"taskId":"a.b","status":"succeed"}"#[..]),
            ("id.with", "dots", &br#"1767225600.{"taskId":"a.b","status":"succeed"}"#[..]),
            ("id.with.dots.1767225600", r#"{"taskId":"a"#, &br#"b","status":"succeed"}"#[..]),
            ("id.with", "dots.1767225600", body),
        ] {
            let webhook = Webhook { id, timestamp, signature: &signature, body };
            let verified = verifier.verify(webhook).unwrap();
            assert_eq!(verifier.check_timestamp(verified, at(NOW)).map(drop), Err(TimestampError::Unreadable));
        }
        let signature = sign(KEY_BYTES, "id", "2026-01-01T00:00:00.500Z", BODY);
        for (id, timestamp, body) in [
            ("id", "2026-01-01T00:00:00", [b"500Z.", BODY].concat()),
            ("id.2026-01-01T00:00:00", "500Z", BODY.to_vec()),
        ] {
            let webhook = Webhook { id, timestamp, signature: &signature, body: &body };
            let verified = verifier.verify(webhook).unwrap();
            assert_eq!(verifier.check_timestamp(verified, at(NOW)).map(drop), Err(TimestampError::Unreadable));
        }
    }

    #[test]
    fn survives_a_clock_before_1970() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_millis(1_500);
        let outside = TimestampError::OutsideTolerance { age_seconds: -1_767_225_602 };
        for (timestamp, expected) in [("0", Ok(())), ("1767225600", Err(outside))] {
            assert_eq!(check_within(Duration::from_secs(2), timestamp, before), expected);
        }
    }

    /// An HMAC consists of two SHA-256 states and a block of the message. Its crate does not document that it is wiped.
    #[test]
    fn wipes_the_states_of_sha_256() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
        is_wiped::<Sha256>();
    }

    #[test]
    fn shows_no_key_signature_or_body_when_printed() {
        let verifier = Verifier::new(&format!("{KEY},{OTHER_KEY}"), Duration::from_secs(300)).unwrap();
        assert_eq!(format!("{verifier:?}"), "Verifier { keys: [Hmac { ... }, Hmac { ... }], tolerance: 300s }");
        let webhook = Webhook { id: "msg_1", timestamp: "1767225600", signature: &signed_with(KEY), body: BODY };
        let printed = r#"Webhook("msg_1", "1767225600", 34 bytes)"#;
        assert_eq!(format!("{webhook:?}"), printed);
        let verified = verifier.verify(webhook).unwrap();
        assert_eq!(format!("{verified:?}"), format!("VerifiedWebhook({printed})"));
        assert_eq!(format!("{:?}", fresh(BODY)), format!("FreshWebhook(VerifiedWebhook({printed}))"));
    }
}
