//! Is this message Pollo's? The keys, the tolerance and the one check that makes a [`VerifiedWebhook`].
//!
//! Pollo signs `id.timestamp.body` with HMAC-SHA-256 and sends the Base64 of it in `X-Webhook-Signature`, as
//! its webhook page describes. Everything here is pure: the bytes and the time of day are handed in.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_sdk_sns::primitives::{DateTime, DateTimeFormat};
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// Length of an HMAC-SHA-256, in bytes.
const TAG_BYTES: usize = 32;

/// How many signatures of one header are compared, at most. Pollo sends one, and two while a key is rotated;
/// the bound keeps the cost of a hostile header down.
const MAX_SIGNATURES: usize = 32;

/// Numbers below this are Unix seconds (until the year 5138), the others Unix milliseconds (from 1973 on).
const FIRST_MILLISECONDS: u64 = 100_000_000_000;

/// Base64 as Node's and Python's decoders read it: trailing bits that say nothing are no error.
const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Why key text was refused. Keys are counted from one; their text is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key decodes to nothing, or to nothing but zeros, with which HMAC fills up a short key, so that it may be the
    /// same. With an empty key anyone can sign.
    #[error("key {0} is empty or nothing but zeros")]
    Empty(usize),
    /// The key is not Base64.
    #[error("key {0} is not Base64")]
    NotBase64(usize),
}

/// Why a message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// None of the signatures was made with one of the keys over these bytes.
    #[error("signature does not match")]
    Mismatch,
    /// The message is authentic, but its timestamp is neither Unix seconds, Unix milliseconds nor RFC 3339.
    #[error("timestamp is not Unix seconds, Unix milliseconds or RFC 3339")]
    TimestampUnreadable,
    /// The message is authentic, but too old or too far in the future.
    #[error("timestamp is outside the tolerance")]
    OutsideTolerance,
}

/// What a webhook consists of, exactly as it was received.
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

/// A message that one of the keys has signed and whose timestamp was within the tolerance.
///
/// Only [`Verifier::verify`] makes one: to hold it is the proof.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedWebhook<'a> {
    id: &'a str,
    timestamp: &'a str,
    body: &'a [u8],
}

impl<'a> VerifiedWebhook<'a> {
    /// `X-Webhook-Id`, as received.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// `X-Webhook-Timestamp`, as received.
    pub fn timestamp(&self) -> &'a str {
        self.timestamp
    }

    /// The raw body, as received.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// The keys and the tolerance that messages are held against. Of a key, two states of SHA-256 are kept; all that is made of
/// it on the way there is wiped.
pub struct Verifier {
    keys: Vec<Hmac<Sha256>>,
    tolerance: Duration,
}

// An HMAC is made of two states of SHA-256 and a block of the message, and says nothing of its own about being wiped.
const _: () = {
    const fn is_wiped<T: ZeroizeOnDrop>() {}
    is_wiped::<Sha256>();
};

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("keys", &format_args!("[{} redacted]", self.keys.len()))
            .field("tolerance", &self.tolerance)
            .finish()
    }
}

impl Verifier {
    /// Reads `keys`, one or several separated by commas, any of which may have signed a message.
    ///
    /// A key is read as Pollo's own samples read it: white space, missing padding, stray trailing bits and the
    /// URL-safe alphabet are accepted, and a `whsec_` prefix is dropped. A message's timestamp may lie `tolerance`
    /// from now, to either side; zero switches that check off, and with it any judgement of the timestamp's form.
    ///
    /// # Errors
    ///
    /// [`KeyError`], if one of the keys is empty or not Base64.
    pub fn new(keys: &str, tolerance: Duration) -> Result<Self, KeyError> {
        let keys = keys
            .split(',')
            .zip(1..)
            .map(|(text, number)| {
                let key = decode_key(text).ok_or(KeyError::NotBase64(number))?;
                if key.iter().all(|&byte| byte == 0) {
                    return Err(KeyError::Empty(number));
                }
                Ok(Hmac::new_from_slice(&key).expect("an HMAC takes a key of any length"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { keys, tolerance })
    }

    /// Checks that `webhook` was signed with one of the keys, and then that its timestamp is near `now`.
    ///
    /// Every key is tried against every signature, without an early exit. The time this takes depends on the
    /// input's length, the number of signatures in it and that of the keys, and not on what they are.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Mismatch`] for a message that is not authentic; the others are said of authentic ones only.
    pub fn verify<'a>(&self, webhook: Webhook<'a>, now: SystemTime) -> Result<VerifiedWebhook<'a>, SignatureError> {
        let Webhook { id, timestamp, signature, body } = webhook;
        let signatures = decode_signatures(signature);

        let mut authentic = Choice::from(0);
        for key in &self.keys {
            let mut mac = key.clone();
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            let tag = mac.finalize().into_bytes();
            for signature in &signatures {
                authentic |= tag.ct_eq(signature);
            }
        }
        if !bool::from(authentic) {
            return Err(SignatureError::Mismatch);
        }

        if !self.tolerance.is_zero() {
            let sent = parse_timestamp(timestamp).ok_or(SignatureError::TimestampUnreadable)?;
            if sent.abs_diff(DateTime::from(now).as_nanos()) > self.tolerance.as_nanos() {
                return Err(SignatureError::OutsideTolerance);
            }
        }
        Ok(VerifiedWebhook { id, timestamp, body })
    }
}

/// The bytes of a key, or `None` if the text is not Base64.
fn decode_key(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim();
    let text = text.strip_prefix("whsec_").unwrap_or(text);
    // As large as it gets: a text that grows leaves copies behind that nothing wipes.
    let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
    base64.extend(text.chars().filter(|c| !c.is_whitespace()).map(|c| match c {
        '-' => '+',
        '_' => '/',
        c => c,
    }));
    LENIENT_BASE64.decode(base64.trim_end_matches('=')).ok().map(Zeroizing::new)
}

/// The signatures in a header: separated by spaces or commas, so that a `v1,` tag is a token like any other.
/// A token that is not the Base64 of 32 bytes matches nothing and is left out.
///
/// Strict Base64, unlike that of a key: one signature has one spelling, so that no changed bit goes unnoticed.
fn decode_signatures(header: &str) -> Vec<[u8; TAG_BYTES]> {
    header
        .split([' ', ','])
        .filter_map(|token| {
            // 44 characters decode to 33 bytes at most.
            let mut bytes = [0; TAG_BYTES + 1];
            match general_purpose::STANDARD.decode_slice(token, &mut bytes) {
                Ok(TAG_BYTES) => bytes.first_chunk().copied(),
                _ => None,
            }
        })
        .take(MAX_SIGNATURES)
        .collect()
}

/// Nanoseconds since the Unix epoch of Unix seconds, Unix milliseconds or an RFC 3339 date with its offset.
///
/// Pollo's page leaves the unit open. The reading is strict (no sign, no leading zero, no space, no exponent),
/// because `id.timestamp.body` cut at another dot has the same signature: what comes to stand in the timestamp's
/// place then must not be taken for one.
fn parse_timestamp(text: &str) -> Option<i128> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return None;
        }
        let number: u64 = text.parse().ok()?;
        let nanos_per_unit = if number < FIRST_MILLISECONDS { 1_000_000_000 } else { 1_000_000 };
        return Some(i128::from(number) * nanos_per_unit);
    }
    let date = DateTime::from_str(text, DateTimeFormat::DateTimeWithOffset).ok()?;
    Some(date.as_nanos())
}

/// Pollo's part in the tests of this crate, with another implementation of HMAC.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) const KEY: &str = "cG9sbG8td2ViaG9vay1wdWJsaXNoZWQtdGVzdC1rZXk=";

    pub(crate) fn sign(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
        use ring::hmac;
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        general_purpose::STANDARD.encode(hmac::sign(&key, &content))
    }

    /// The proof of `body`, come by honestly.
    pub(crate) fn verified(body: &[u8]) -> VerifiedWebhook<'_> {
        let signature = sign(b"key", "msg_1", "1767225600", body).leak();
        let webhook = Webhook { id: "msg_1", timestamp: "1767225600", signature, body };
        Verifier::new("a2V5", Duration::ZERO).unwrap().verify(webhook, SystemTime::UNIX_EPOCH).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{KEY, sign};
    use super::*;

    const NOW: u64 = 1_767_225_600; // 2026-01-01T00:00:00Z
    const BODY: &[u8] = br#"{"taskId":"t1","status":"succeed"}"#;

    fn at(unix_seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(unix_seconds)
    }

    fn key_bytes(text: &str) -> Vec<u8> {
        general_purpose::STANDARD.decode(text).unwrap()
    }

    fn verify_with(keys: &str, signature: &str) -> Result<(), SignatureError> {
        let verifier = Verifier::new(keys, Duration::from_secs(300)).unwrap();
        let webhook = Webhook { id: "msg_1", timestamp: "1767225600", signature, body: BODY };
        verifier.verify(webhook, at(NOW)).map(drop)
    }

    fn signed_with(key: &str) -> String {
        sign(&key_bytes(key), "msg_1", "1767225600", BODY)
    }

    /// What becomes of an authentic message with this timestamp, 300 seconds being allowed.
    fn verify_timestamp(timestamp: &str) -> Result<(), SignatureError> {
        verify_timestamp_within(Duration::from_secs(300), timestamp)
    }

    fn verify_timestamp_within(tolerance: Duration, timestamp: &str) -> Result<(), SignatureError> {
        let signature = sign(&key_bytes(KEY), "msg_1", timestamp, BODY);
        let webhook = Webhook { id: "msg_1", timestamp, signature: &signature, body: BODY };
        Verifier::new(KEY, tolerance).unwrap().verify(webhook, at(NOW)).map(drop)
    }

    #[test]
    fn accepts_what_was_signed_and_hands_it_on_unchanged() {
        let verifier = Verifier::new(KEY, Duration::from_secs(300)).unwrap();
        let signature = signed_with(KEY);
        let webhook = Webhook { id: "msg_1", timestamp: "1767225600", signature: &signature, body: BODY };
        let verified = verifier.verify(webhook, at(NOW)).unwrap();
        assert_eq!((verified.id(), verified.timestamp(), verified.body()), ("msg_1", "1767225600", BODY));
    }

    #[test]
    fn rejects_another_key_id_timestamp_body_or_signature() {
        let verifier = Verifier::new(KEY, Duration::from_secs(300)).unwrap();
        let signature = signed_with(KEY);
        let webhook = Webhook { id: "msg_1", timestamp: "1767225600", signature: &signature, body: BODY };
        let other_signature = signed_with("YW5vdGhlcg==");
        for changed in [
            Webhook { id: "msg_2", ..webhook },
            Webhook { timestamp: "1767225601", ..webhook },
            Webhook { body: br#"{"taskId":"t2","status":"succeed"}"#, ..webhook },
            Webhook { body: b"", ..webhook },
            Webhook { signature: &other_signature, ..webhook },
            Webhook { signature: "", ..webhook },
        ] {
            assert_eq!(verifier.verify(changed, at(NOW)).map(drop), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn takes_id_and_timestamp_to_the_byte() {
        let verifier = Verifier::new(KEY, Duration::ZERO).unwrap();
        let (id, timestamp) = (" MSG\u{a0}é/1 ", " 01 ");
        let signature = &*sign(&key_bytes(KEY), id, timestamp, BODY);
        let verified = verifier.verify(Webhook { id, timestamp, signature, body: BODY }, at(NOW)).unwrap();
        assert_eq!((verified.id(), verified.timestamp()), (id, timestamp));
        for (id, timestamp) in [(id.trim(), timestamp), (id, timestamp.trim()), (&*id.to_lowercase(), timestamp)] {
            let changed = Webhook { id, timestamp, signature, body: BODY };
            assert_eq!(verifier.verify(changed, at(NOW)).map(drop), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn reads_a_key_as_pollos_samples_do() {
        let signature = sign(b"ABCD", "msg_1", "1767225600", BODY);
        for key in [
            "QUJDRA==",
            "QUJDRA",
            "QUJDRA=",
            "QUJDRA====",
            "QUJDRB==",
            "QUJDRB",
            " QUJDRA== \n",
            "QUJD\r\nRA==",
            "whsec_QUJDRA==",
            "\twhsec_QUJDRA\n",
        ] {
            assert_eq!(verify_with(key, &signature), Ok(()), "{key:?}");
        }
        let signature = sign(&[0, 0, 0, 0, 0, 0, 0, 1], "msg_1", "1767225600", BODY);
        assert_eq!(verify_with("AAAAAAAAAAE=", &signature), Ok(()));
        let signature = sign(&[0xfb, 0xff, 0xbf], "msg_1", "1767225600", BODY);
        assert_eq!(verify_with("+/+/", &signature), Ok(()));
        assert_eq!(verify_with("-_-_", &signature), Ok(()));
    }

    #[test]
    fn refuses_an_empty_key_whatever_its_spelling() {
        for (keys, number) in [
            ("", 1),
            (" \n", 1),
            ("AA==", 1),
            ("AAAA", 1),
            ("=", 1),
            ("====", 1),
            ("whsec_", 1),
            ("whsec_==", 1),
            (",", 1),
            ("QUJD,", 2),
            (",QUJD", 1),
        ] {
            assert_eq!(Verifier::new(keys, Duration::ZERO).unwrap_err(), KeyError::Empty(number), "{keys:?}");
        }
    }

    #[test]
    fn refuses_a_key_that_is_not_base64() {
        for (keys, number) in [("QU$D", 1), ("QUJDR", 1), ("QUJD=REVG", 1), ("QUJD,é", 2), ("\"QUJD\"", 1)] {
            assert_eq!(Verifier::new(keys, Duration::ZERO).unwrap_err(), KeyError::NotBase64(number), "{keys:?}");
        }
    }

    #[test]
    fn accepts_any_of_several_keys() {
        let keys = format!("YW5vdGhlcg==, {KEY} ,dGhpcmQ=");
        for key in ["YW5vdGhlcg==", KEY, "dGhpcmQ="] {
            assert_eq!(verify_with(&keys, &signed_with(key)), Ok(()));
        }
        assert_eq!(verify_with(&keys, &signed_with("Zm91cnRo")), Err(SignatureError::Mismatch));
    }

    #[test]
    fn finds_the_right_signature_among_several() {
        let (right, wrong) = (signed_with(KEY), signed_with("YW5vdGhlcg=="));
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
    fn takes_a_token_that_is_not_32_bytes_of_base64_for_no_signature() {
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
            assert_eq!(verify_with(KEY, header), Err(SignatureError::Mismatch), "{header}");
        }
    }

    #[test]
    fn takes_one_spelling_of_a_signature_only() {
        // The last character before the padding has two bits that say nothing.
        let right = signed_with(KEY);
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let accepted = alphabet.chars().filter(|c| verify_with(KEY, &format!("{}{c}=", &right[..42])).is_ok()).count();
        assert_eq!(accepted, 1);
    }

    #[test]
    fn compares_no_more_than_32_signatures() {
        let (right, wrong) = (signed_with(KEY), signed_with("YW5vdGhlcg=="));
        let among = |others| format!("{}{right}", format!("{wrong} ").repeat(others));
        assert_eq!(verify_with(KEY, &among(31)), Ok(()));
        assert_eq!(verify_with(KEY, &among(32)), Err(SignatureError::Mismatch));
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
            assert_eq!(verify_timestamp(timestamp), Ok(()), "{timestamp}");
        }
    }

    #[test]
    fn accepts_the_tolerance_to_either_side_and_not_a_millisecond_more() {
        for timestamp in ["1767225300", "1767225900", "1767225300000", "1767225900000", "2025-12-31T23:55:00Z"] {
            assert_eq!(verify_timestamp(timestamp), Ok(()), "{timestamp}");
        }
        for timestamp in
            ["1767225299", "1767225901", "1767225299999", "1767225900001", "2026-01-01T00:05:00.000000001Z"]
        {
            assert_eq!(verify_timestamp(timestamp), Err(SignatureError::OutsideTolerance), "{timestamp}");
        }
    }

    #[test]
    fn takes_numbers_for_seconds_up_to_the_year_5138() {
        let tolerance = Duration::from_secs(99_999_999_999 - NOW);
        assert_eq!(verify_timestamp_within(tolerance, "99999999999"), Ok(()));
        // In milliseconds this is 1973.
        let tolerance = Duration::from_secs(NOW - 100_000_000);
        assert_eq!(verify_timestamp_within(tolerance, "100000000000"), Ok(()));
    }

    #[test]
    fn survives_every_number_and_date() {
        let outside = Err(SignatureError::OutsideTolerance);
        for timestamp in [
            "0",
            "1",
            "9223372036854775806",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "9999-12-31T23:59:59-23:59",
        ] {
            assert_eq!(verify_timestamp(timestamp), outside, "{timestamp}");
            let widest = verify_timestamp_within(Duration::MAX, timestamp);
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
            assert_eq!(verify_timestamp(timestamp), Err(SignatureError::TimestampUnreadable), "{timestamp:?}");
        }
    }

    #[test]
    fn judges_no_timestamp_when_the_tolerance_is_zero() {
        for timestamp in ["0", "1e9", "yesterday", "01767225600"] {
            assert_eq!(verify_timestamp_within(Duration::ZERO, timestamp), Ok(()), "{timestamp}");
        }
    }

    #[test]
    fn says_nothing_of_a_forged_messages_timestamp() {
        for timestamp in ["0", "yesterday", "1767225600"] {
            let webhook = Webhook { id: "msg_1", timestamp, signature: "v1,forged", body: BODY };
            let verifier = Verifier::new(KEY, Duration::from_secs(300)).unwrap();
            assert_eq!(verifier.verify(webhook, at(NOW)).map(drop), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn does_not_take_a_message_cut_at_another_dot() {
        // `a.1767225600` . `1767225600` . body, read as `a` . `1767225600` . `1767225600.body` has the same signature.
        let verifier = Verifier::new(KEY, Duration::from_secs(300)).unwrap();
        let body = br#"{"taskId":"a.b","status":"succeed"}"#;
        let signature = sign(&key_bytes(KEY), "id.with.dots", "1767225600", body);
        for (id, timestamp, body) in [
            ("id", "with", &br#"dots.1767225600.{"taskId":"a.b","status":"succeed"}"#[..]),
            ("id.with", "dots", &br#"1767225600.{"taskId":"a.b","status":"succeed"}"#[..]),
            ("id.with.dots.1767225600", r#"{"taskId":"a"#, &br#"b","status":"succeed"}"#[..]),
            ("id.with", "dots.1767225600", body),
        ] {
            let webhook = Webhook { id, timestamp, signature: &signature, body };
            assert_eq!(verifier.verify(webhook, at(NOW)).map(drop), Err(SignatureError::TimestampUnreadable));
        }
        let signature = sign(&key_bytes(KEY), "id", "2026-01-01T00:00:00.500Z", BODY);
        for (id, timestamp, body) in [
            ("id", "2026-01-01T00:00:00", [b"500Z.", BODY].concat()),
            ("id.2026-01-01T00:00:00", "500Z", BODY.to_vec()),
        ] {
            let webhook = Webhook { id, timestamp, signature: &signature, body: &body };
            assert_eq!(verifier.verify(webhook, at(NOW)).map(drop), Err(SignatureError::TimestampUnreadable));
        }
    }

    #[test]
    fn survives_a_clock_before_1970() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_millis(1_500);
        for (timestamp, expected) in [("0", Ok(())), ("1767225600", Err(SignatureError::OutsideTolerance))] {
            let signature = sign(&key_bytes(KEY), "msg_1", timestamp, BODY);
            let webhook = Webhook { id: "msg_1", timestamp, signature: &signature, body: BODY };
            let verifier = Verifier::new(KEY, Duration::from_secs(2)).unwrap();
            assert_eq!(verifier.verify(webhook, before).map(drop), expected);
        }
    }

    #[test]
    fn shows_no_key_when_printed() {
        let printed = format!("{:?}", Verifier::new(&format!("{KEY},QUJDRA=="), Duration::from_secs(300)).unwrap());
        assert_eq!(printed, "Verifier { keys: [2 redacted], tolerance: 300s }");
    }
}
