//! Checks the context that a worker reports before it goes into a key (rule S12). Nothing in a report is trusted.
//!
//! Called by the monitor when the worker has reported. Invariant: an [`Agreed`] has passed every check.

use crate::config::Enctypes;
use crate::crypto::enctype::Enctype;
use crate::crypto::mic::KeyOrigin;
use crate::ctx::initiator::{Initiator, Principal};
use crate::ctx::payload::lustre::{NullContext, SharedKeyContext};
use crate::ctx::{BaseKey, Context, Handle, Lifetime, SeqWindow};
use crate::event::{Cause, Failure, Stage, one_line};
use crate::negotiate::messages::Established;
use crate::secret::Secret;
use crate::time::now_32;

/// A context that has passed the checks, by mechanism.
pub(super) enum AgreedContext {
    /// Kerberos 5.
    Kerberos(Context),
    /// A shared key.
    SharedKey(SharedKeyContext),
    /// No security.
    Null(NullContext),
}

impl AgreedContext {
    /// The server's sequence window.
    pub(super) fn window(&self) -> SeqWindow {
        match self {
            Self::Kerberos(context) => context.window,
            Self::SharedKey(context) => context.window,
            Self::Null(context) => context.window,
        }
    }

    /// The algorithms that protect messages, for the log.
    pub(super) fn protection(&self) -> String {
        match self {
            Self::Kerberos(context) => context.base_key.enctype().to_string(),
            Self::SharedKey(context) if context.encryption_key.is_empty() => {
                format!("HMAC {}", context.hmac)
            }
            Self::SharedKey(context) => format!("HMAC {} and {}", context.hmac, context.cipher),
            Self::Null(_) => "no security".to_owned(),
        }
    }
}

/// A context that has passed the checks.
pub(super) struct Agreed {
    /// For the key.
    pub(super) context: AgreedContext,
    /// How long the key may hold it.
    pub(super) lifetime: Lifetime,
    /// The client's principal and its cache, for the log.
    pub(super) credential: String,
    /// The server that has answered, for the log.
    pub(super) server: String,
}

/// Window, handle, key and end must be plausible, and the encryption type `allowed`.
///
/// # Errors
/// `WorkerFault` for an impossible value, `TicketExpired` for a context that has no life left.
pub(super) fn check(
    context: Established,
    base_key: Secret,
    handle: &[u8],
    allowed: &Enctypes,
) -> Result<Agreed, Failure> {
    let bad = |what: &str| Failure::new(Stage::Publish, Cause::WorkerFault, format_args!("S12: {what}"));
    let enctype = Enctype::try_from(context.enctype).map_err(|error| bad(&error.to_string()))?;
    if !allowed.allows(enctype) {
        return Err(bad(&format!("context of {enctype}; allowed by lgss.toml: {allowed}")));
    }
    let key_origin = if context.acceptor_subkey { KeyOrigin::AcceptorSubkey } else { KeyOrigin::Initiator };
    let left = context.endtime.saturating_sub(now_32());
    let lifetime = Lifetime::from_secs(context.lifetime.min(left)).less_margin();
    if lifetime.as_secs() == 0 {
        let detail = "the context is valid for less than a second or two";
        return Err(Failure::new(Stage::Publish, Cause::TicketExpired, detail));
    }
    Ok(Agreed {
        context: AgreedContext::Kerberos(Context {
            window: SeqWindow::new(context.window).ok_or_else(|| bad("sequence window of 0"))?,
            handle: Handle::new(handle).ok_or_else(|| bad("no handle, or one too long"))?,
            base_key: BaseKey::new(enctype, base_key)
                .ok_or_else(|| bad("key of a wrong length, or all zeros"))?,
            key_origin,
            endtime: context.endtime,
            send_sequence: context.send_sequence.into_exposed(),
            // A principal that is no single printable line is left out: no reader could compare it.
            initiator: Principal::new(&context.principal)
                .map(|principal| Initiator { principal, unmet: context.unmet.as_deref().map(one_line) }),
        }),
        lifetime,
        credential: one_line(&context.credential),
        server: one_line(&context.server),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::class::Private;
    use crate::ctx::HANDLE_LIMIT;
    use crate::negotiate::messages::Considered;

    const KEY: [u8; 32] = [7; 32];
    const HANDLE: &[u8] = b"handle";

    fn kerberos(agreed: Agreed) -> Context {
        match agreed.context {
            AgreedContext::Kerberos(context) => context,
            AgreedContext::SharedKey(_) | AgreedContext::Null(_) => panic!("another mechanism's"),
        }
    }

    /// A report that passes.
    pub(in crate::upcall) fn reported() -> Established {
        Established {
            enctype: Enctype::Aes256Sha1.number(),
            acceptor_subkey: true,
            endtime: now_32() + 10_000,
            send_sequence: Private::new(5),
            lifetime: 1000,
            window: 128,
            credential: "alice@R\nFILE:/tmp/x".to_owned(),
            server: "nfs/h@R".to_owned(),
            principal: "alice@R".to_owned(),
            unmet: Some("bob@R:\nexpired".to_owned()),
            considered: Considered::default(),
            stages: Vec::new(),
            trail: Vec::new(),
        }
    }

    fn checked(context: Established, key: &[u8], handle: &[u8]) -> Result<Agreed, Failure> {
        check(context, Secret::new(key.to_vec()), handle, &Enctypes::default())
    }

    #[test]
    fn a_context_that_passes_is_as_it_was_reported_with_texts_of_one_line() {
        let agreed = checked(reported(), &KEY, HANDLE).unwrap();
        assert!(!agreed.credential.contains('\n'), "{}", agreed.credential);
        let context = kerberos(agreed);
        assert_eq!((context.window.count(), context.handle.as_bytes()), (128, HANDLE));
        assert_eq!(
            (context.base_key.enctype(), context.base_key.secret().expose()),
            (Enctype::Aes256Sha1, &KEY[..])
        );
        assert!(matches!(context.key_origin, KeyOrigin::AcceptorSubkey));
        assert_eq!(context.send_sequence, 5);
        let unmet = context.initiator.unwrap().unmet.unwrap();
        assert!(!unmet.contains('\n'), "{unmet}");
    }

    #[test]
    fn each_value_that_cannot_be_is_the_workers_fault() {
        let other = |change: fn(&mut Established)| {
            let mut context = reported();
            change(&mut context);
            context
        };
        let zeros = [0; 32];
        let long = vec![1; HANDLE_LIMIT + 1];
        for (context, key, handle, words) in [
            (other(|context| context.window = 0), &KEY[..], HANDLE, "window of 0"),
            (reported(), &KEY, b"", "no handle"),
            (reported(), &KEY, &long, "no handle, or one too long"),
            (reported(), &KEY[1..], HANDLE, "key of a wrong length"),
            (reported(), b"", HANDLE, "key of a wrong length"),
            (reported(), &zeros, HANDLE, "all zeros"),
            (other(|context| context.enctype = Enctype::Aes128Sha1.number()), &KEY, HANDLE, "wrong length"),
            (other(|context| context.enctype = 23), &KEY, HANDLE, "encryption type 23"),
        ] {
            let failure = checked(context, key, handle).map(drop).unwrap_err();
            assert_eq!((failure.stage, failure.cause), (Stage::Publish, Cause::WorkerFault), "{words}");
            assert!(failure.detail.starts_with("S12: ") && failure.detail.contains(words), "{failure}");
        }
    }

    #[test]
    fn an_encryption_type_that_the_settings_do_not_allow_is_refused() {
        let allowed = Enctypes::try_from(vec![Enctype::Aes128Sha256.to_string()]).unwrap();
        let failure = check(reported(), Secret::new(KEY.to_vec()), HANDLE, &allowed).map(drop).unwrap_err();
        assert_eq!(failure.cause, Cause::WorkerFault);
        assert!(failure.detail.contains("allowed by lgss.toml: aes128-cts-hmac-sha256-128"), "{failure}");
    }

    #[test]
    fn a_context_lives_no_longer_than_its_end_and_one_that_is_over_is_no_context() {
        let lifetime = |lifetime, left| {
            let context = Established { lifetime, endtime: now_32().saturating_add(left), ..reported() };
            checked(context, &KEY, HANDLE).map(|agreed| agreed.lifetime.as_secs())
        };
        // Less a tenth, or a minute.
        assert_eq!(lifetime(100, 10_000).unwrap(), 90);
        assert_eq!(lifetime(10_000, u32::MAX).unwrap(), 9940);
        let by_end = lifetime(u32::MAX, 5000).unwrap();
        assert!((4900..=4940).contains(&by_end), "{by_end}");
        for over in [lifetime(0, 10_000), lifetime(1000, 0)] {
            assert_eq!(over.unwrap_err().cause, Cause::TicketExpired);
        }
    }

    #[test]
    fn a_principal_that_cannot_be_written_is_left_out_and_the_context_stays() {
        for principal in ["", "a\nb@R"] {
            let context = Established { principal: principal.to_owned(), ..reported() };
            assert!(kerberos(checked(context, &KEY, HANDLE).unwrap()).initiator.is_none(), "{principal:?}");
        }
    }
}
