//! Signs webhooks as Pollo does. It uses another HMAC implementation than the function. All Rust tests sign with it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// The key of the sample events. It is public, so do not use it for anything else.
pub const KEY: &str = "cG9sbG8td2ViaG9vay1wdWJsaXNoZWQtdGVzdC1rZXk=";
/// The bytes of [`KEY`].
pub const KEY_BYTES: &[u8] = b"pollo-webhook-published-test-key";

/// The time of the sample events, 2026-01-01T00:00:00Z, in Unix seconds.
pub const NOW: u64 = 1_767_225_600;

/// The value of `X-Webhook-Signature`.
pub fn sign(key: &[u8], id: impl AsRef<[u8]>, timestamp: impl AsRef<[u8]>, body: &[u8]) -> String {
    let content = [id.as_ref(), b".", timestamp.as_ref(), b".", body].concat();
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &content))
}
