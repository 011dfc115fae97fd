//! The AWS SDK, set up from the environment that Lambda makes, with no more than this function needs.
//!
//! `aws-config` would also look for profiles, web identities and metadata services, none of which a Lambda function needs:
//! with it, the start took three quarters more instructions, and the binary was a fifth larger. docs/performance.md has
//! the figures.

use aws_sdk_sns::config::{
    BehaviorVersion, Builder, Credentials, IdentityCache, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

/// The five roots from which all certificates of AWS descend, as Amazon publishes them
/// (<https://www.amazontrust.com/repository/>). The first of them to expire does so on 2037-12-31.
const AMAZON_ROOTS: &str = include_str!("amazon-roots.pem");

/// The SDK's configuration by the variables that all of AWS's SDKs share. `variable` gives those that are set.
pub(crate) fn config(credentials: Credentials, variable: impl Fn(&str) -> Option<String>) -> Builder {
    let is_true = |name| variable(name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let mut config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(credentials)
        // They never change (Lambda replaces them with the process), and what stalls runs into the time-out of the attempt.
        .identity_cache(IdentityCache::no_cache())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(https(variable("SSL_CERT_FILE").or_else(|| variable("SSL_CERT_DIR")).is_some()));
    config.set_endpoint_url(variable("AWS_ENDPOINT_URL_SNS").or_else(|| variable("AWS_ENDPOINT_URL")));
    config.set_use_fips(is_true("AWS_USE_FIPS_ENDPOINT").then_some(true));
    config.set_use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT").then_some(true));
    config
}

/// A client that trusts Amazon's roots alone: reading those of the system would take longer than all the rest of the
/// start. Whoever names others in the environment has them, and not Amazon's.
fn https(roots_are_named: bool) -> SharedHttpClient {
    let trusted = if roots_are_named {
        TrustStore::empty().with_native_roots(true)
    } else {
        TrustStore::empty().with_pem_certificate(AMAZON_ROOTS)
    };
    let context = TlsContext::builder().with_trust_store(trusted).build().expect("a trust store is all that it takes");
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn has_amazons_roots_as_amazon_publishes_them() {
        let roots = AMAZON_ROOTS.split("-----BEGIN CERTIFICATE-----").skip(1);
        let fingerprints: Vec<String> = roots
            .map(|root| {
                let text: String = root.split("-----END").next().unwrap().split_whitespace().collect();
                let digest = Sha256::digest(STANDARD.decode(text).unwrap());
                digest.iter().fold(String::new(), |mut hex, byte| {
                    write!(hex, "{byte:02x}").unwrap();
                    hex
                })
            })
            .collect();
        assert_eq!(
            fingerprints,
            [
                "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e", // Amazon Root CA 1
                "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4", // Amazon Root CA 2
                "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4", // Amazon Root CA 3
                "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092", // Amazon Root CA 4
                "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5", // Starfield Services Root CA - G2
            ]
        );
    }
}
