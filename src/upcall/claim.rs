//! What an upcall claims. Made by the front; trusted only after `authorise` has accepted it.

use super::invocation::{Invocation, RULE_WORDS};
use super::order::{Garbled, Order};
use crate::event::{Cause, Failure, Stage};
use crate::key::{KeyDescription, KeySerial};

/// A request of a kind that is served, in agreement with the kernel's description of the key (rule S3).
#[derive(Debug)]
pub(super) struct Claim<'a> {
    /// The key under construction.
    pub key: KeySerial,
    /// The key's owner, by the kernel's description.
    pub uid: u32,
    /// Length of the callout in bytes, which the authorisation key's line has as well.
    pub callout_length: usize,
    /// The requester's thread keyring, 0 if it has none.
    pub thread_ring: i32,
    /// The request.
    pub order: &'a Order,
}

impl<'a> Claim<'a> {
    /// Compares the arguments with the key itself; `order` is the request that they make.
    ///
    /// # Errors
    /// A [`Failure`] of stage authorise: refused (rule S1 or S3), or malformed.
    pub(super) fn of(
        invocation: &Invocation,
        order: &'a Result<Order, Garbled>,
        kernel: &KeyDescription,
    ) -> Result<Self, Failure> {
        let disagreeing = [
            ("%t", kernel.key_type.as_bytes() == invocation.key_type),
            ("%d", kernel.description == invocation.description),
            ("%u", kernel.uid == invocation.uid),
            ("%g", kernel.gid == invocation.gid),
        ]
        .into_iter()
        .filter_map(|(word, agrees)| (!agrees).then_some(word));
        let disagreeing: Vec<&str> = disagreeing.collect();
        if !disagreeing.is_empty() {
            return Err(rule_at_fault(&disagreeing.join(", ")));
        }
        let order = order.as_ref().map_err(|garbled| garbled.failure.clone())?;
        Ok(Self {
            key: invocation.key,
            uid: kernel.uid,
            callout_length: invocation.callout.len(),
            thread_ring: invocation.thread_ring,
            order,
        })
    }
}

/// Words that differ from the key are the rule's fault: the kernel and request-key pass them as the rule says.
fn rule_at_fault(words: &str) -> Failure {
    let detail = format_args!(
        "S3: what the request-key rule passes for {words} does not match the key: let the rule end in {RULE_WORDS}"
    );
    Failure::new(Stage::Authorise, Cause::Setup, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsString;

    const CALLOUT: &str = "lgss1;svc=nfs@h;chan=rpc:h:1,2,3";

    fn invocation() -> Invocation {
        let words = format!("create|77|user|lgss:1000:nfs@h|{CALLOUT}|1000|100|0|0|5");
        Invocation::parse(words.split('|').map(OsString::from)).unwrap()
    }

    fn kernel() -> KeyDescription {
        KeyDescription {
            key_type: "user".into(),
            uid: 1000,
            gid: 100,
            permissions: 0x3f01_0000,
            description: b"lgss:1000:nfs@h".to_vec(),
        }
    }

    fn claimed(invocation: &Invocation, kernel: &KeyDescription) -> Result<(), Failure> {
        Claim::of(invocation, &Order::read(invocation), kernel).map(drop)
    }

    #[test]
    fn words_that_disagree_with_the_key_are_refused() {
        assert!(claimed(&invocation(), &kernel()).is_ok());
        for other in [
            KeyDescription { uid: 1001, ..kernel() },
            KeyDescription { gid: 0, ..kernel() },
            KeyDescription { description: b"lgss:1000:nfs@x".to_vec(), ..kernel() },
            KeyDescription { key_type: "lgssc".into(), ..kernel() },
        ] {
            let failure = claimed(&invocation(), &other).unwrap_err();
            assert_eq!(failure.cause, Cause::Setup, "the rule's fault, not the requester's: {other:?}");
            assert!(failure.detail.starts_with("S3") && failure.detail.contains('%'), "{failure}");
        }
    }

    #[test]
    fn the_rules_fault_is_told_before_the_requesters() {
        let invocation = Invocation { callout: b"nonsense".to_vec(), ..invocation() };
        assert_eq!(claimed(&invocation, &kernel()).unwrap_err().cause, Cause::BadRequest);
        let other = KeyDescription { uid: 1001, ..kernel() };
        assert_eq!(claimed(&invocation, &other).unwrap_err().cause, Cause::Setup);
    }

    proptest! {
        #[test]
        fn any_bytes_in_the_words_are_claimed_or_refused_without_a_panic(d in any::<Vec<u8>>(), c in any::<Vec<u8>>()) {
            let invocation = Invocation { description: d.clone(), callout: c, ..invocation() };
            let kernel = KeyDescription { description: d, ..kernel() };
            prop_assert!(claimed(&invocation, &kernel).is_err());
        }
    }
}
