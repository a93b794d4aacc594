//! Signs the four JSON parts of a message with HMAC-SHA256, and checks such signatures in
//! constant time.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Signs and checks with one key. An empty key disables signing.
#[derive(Debug, Clone)]
pub struct Signer {
    mac: Option<Hmac<Sha256>>,
}

impl Signer {
    /// A signer for the connection file's `key`.
    pub fn new(key: &str) -> Signer {
        let keyed = || Hmac::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
        Signer { mac: (!key.is_empty()).then(keyed) }
    }

    /// Whether there is a key.
    pub fn signs(&self) -> bool {
        self.mac.is_some()
    }

    /// The signature of `parts` as hexadecimal digits; empty without a key.
    pub fn sign<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> String {
        let sign = |mac| hex::encode(fed(mac, parts).finalize().into_bytes());
        self.mac.clone().map(sign).unwrap_or_default()
    }

    /// Whether `signature` (hexadecimal digits) belongs to `parts`. Always so without a key.
    pub fn accepts<'a>(&self, signature: &[u8], parts: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let Some(mac) = self.mac.clone() else { return true };
        let Ok(digest) = hex::decode(signature) else { return false };
        fed(mac, parts).verify_slice(&digest).is_ok()
    }
}

/// `mac` after it has seen all `parts`.
fn fed<'a>(mut mac: Hmac<Sha256>, parts: impl IntoIterator<Item = &'a [u8]>) -> Hmac<Sha256> {
    parts.into_iter().for_each(|part| mac.update(part));
    mac
}
