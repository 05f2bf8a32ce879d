//! Checks what a server grants, and a context by a shared key that a worker reports (rules S12, S13).
//!
//! Called by the monitor. Invariant: window and handle are the server's, algorithms and lifetime the shared key's own; the
//! worker's are only the derived keys and the random bytes.

use super::relay::GrantedContext;
use crate::creds::shared_key::SharedKey;
use crate::ctx::payload::lustre::SharedKeyContext;
use crate::ctx::request::Level;
use crate::ctx::{Handle, Lifetime, SeqWindow};
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::messages::SharedKeyEstablished;
use crate::secret::Secret;

/// Window and handle that a server has granted.
///
/// # Errors
/// `BadReply` for impossible ones.
pub(super) fn granted_parts(granted: &GrantedContext) -> Result<(SeqWindow, Handle), Failure> {
    let bad = |what| Failure::new(Stage::Negotiate, Cause::BadReply, what);
    let window = SeqWindow::new(granted.window).ok_or_else(|| bad("S12: sequence window of 0"))?;
    let handle = Handle::new(&granted.handle).ok_or_else(|| bad("S12: no handle, or one too long"))?;
    Ok((window, handle))
}

/// Checks a context by this shared key, for this level. Algorithms and lifetime are the key's own, not the worker's.
///
/// # Errors
/// `BadReply` or `WorkerFault` for an impossible value.
pub(super) fn check_shared(
    context: &SharedKeyEstablished,
    keys: &Secret,
    granted: &GrantedContext,
    key: &SharedKey,
    level: Level,
) -> Result<(SharedKeyContext, Lifetime), Failure> {
    let bad = |what| Failure::new(Stage::Publish, Cause::WorkerFault, format_args!("S12: {what}"));
    let (window, handle) = granted_parts(granted)?;
    let encryption = if level == Level::Privacy { key.cipher.key_length() } else { 0 };
    let (hmac_key, encryption_key) =
        keys.expose().split_at_checked(key.hmac.digest_length()).ok_or_else(|| bad("HMAC key too short"))?;
    if encryption_key.len() != encryption {
        return Err(bad("encryption key of a wrong length"));
    }
    let is_zero = |key: &[u8]| !key.is_empty() && key.iter().all(|&byte| byte == 0);
    if is_zero(hmac_key) || is_zero(encryption_key) {
        return Err(bad("key of zeros"));
    }
    if context.host_random == context.peer_random {
        return Err(bad("both sides' random bytes are equal"));
    }
    let lifetime = Lifetime::from_secs(key.expire).less_margin();
    let context = SharedKeyContext {
        window,
        handle,
        hmac: key.hmac.kernel_name(),
        cipher: key.cipher.kernel_name(),
        expire: key.expire,
        host_random: context.host_random.into_exposed(),
        peer_random: context.peer_random.into_exposed(),
        hmac_key: Secret::new(hmac_key.to_vec()),
        encryption_key: Secret::new(encryption_key.to_vec()),
    };
    Ok((context, lifetime))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Private;
    use crate::creds::shared_key::{CipherAlgorithm, HmacAlgorithm, KeyParts};

    fn key(hmac: HmacAlgorithm, cipher: CipherAlgorithm) -> SharedKey {
        SharedKey::new(KeyParts { hmac, cipher, expire: 600, ..KeyParts::of_a_client() }).unwrap()
    }

    fn reported() -> SharedKeyEstablished {
        SharedKeyEstablished {
            candidate: 0,
            host_random: Private::new([1, 2, 3, 4]),
            peer_random: Private::new([1, 2, 3, 5]),
            remark: None,
            stages: Vec::new(),
            trail: Vec::new(),
        }
    }

    fn granted() -> GrantedContext {
        GrantedContext { window: 2048, handle: b"handle78".to_vec() }
    }

    #[test]
    fn the_keys_are_taken_apart_by_the_shared_keys_algorithms() {
        for (hmac, cipher, level, lengths) in [
            (HmacAlgorithm::Sha256, CipherAlgorithm::Aes256Ctr, Level::Integrity, (32, 0)),
            (HmacAlgorithm::Sha256, CipherAlgorithm::Aes256Ctr, Level::Privacy, (32, 32)),
            (HmacAlgorithm::Sha512, CipherAlgorithm::Aes256Ctr, Level::Privacy, (64, 32)),
            (HmacAlgorithm::Sha512, CipherAlgorithm::Null, Level::Privacy, (64, 0)),
            (HmacAlgorithm::Null, CipherAlgorithm::Null, Level::Null, (0, 0)),
        ] {
            let keys: Vec<u8> = (1..).take(lengths.0 + lengths.1).collect();
            let shared = key(hmac, cipher);
            let check = |keys: &[u8]| {
                check_shared(&reported(), &Secret::new(keys.to_vec()), &granted(), &shared, level)
            };
            let (context, lifetime) = check(&keys).unwrap();
            assert_eq!([context.hmac_key.expose(), context.encryption_key.expose()].concat(), keys);
            assert_eq!((context.hmac_key.len(), context.encryption_key.len()), lengths);
            assert_eq!((context.hmac, context.cipher), (hmac.kernel_name(), cipher.kernel_name()));
            assert_eq!((context.expire, lifetime.as_secs()), (600, 540));
            assert_eq!((context.window.count(), context.handle.as_bytes()), (2048, &b"handle78"[..]));
            assert!(check(&[&keys[..], &[1]].concat()).is_err());
            assert!(keys.is_empty() || check(&keys[1..]).is_err());
            assert!(keys.is_empty() || check(&vec![0; keys.len()]).is_err());
        }
    }

    #[test]
    fn an_impossible_context_is_refused_by_whoever_is_to_blame() {
        let keys = Secret::new(vec![1; 32]);
        let shared = key(HmacAlgorithm::Sha256, CipherAlgorithm::Aes256Ctr);
        let cause = |context: &SharedKeyEstablished, granted: &GrantedContext| {
            check_shared(context, &keys, granted, &shared, Level::Integrity).map(drop).unwrap_err().cause
        };
        let equal = SharedKeyEstablished { peer_random: Private::new([1, 2, 3, 4]), ..reported() };
        assert_eq!(cause(&equal, &granted()), Cause::WorkerFault);
        assert_eq!(cause(&reported(), &GrantedContext { window: 0, ..granted() }), Cause::BadReply);
        assert_eq!(cause(&reported(), &GrantedContext { handle: Vec::new(), ..granted() }), Cause::BadReply);
    }
}
