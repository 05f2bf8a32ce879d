//! The mechanism `gssnull`, which is GSS without security: no credentials and no worker. The monitor sends one token of
//! random bits and roles, and the server's token goes to the kernel as it is.

use std::time::Instant;

use nix::errno::Errno;

use super::check::{Agreed, AgreedContext};
use super::check_shared::granted_parts;
use super::exchange::Exchanged;
use super::held::KeyToAnswer;
use super::relay::{GrantedContext, Relay};
use crate::ctx::Lifetime;
use crate::ctx::lustre::{LustreCallout, Roles};
use crate::ctx::payload::lustre::NullContext;
use crate::ctx::payload::user::GSS_S_CONTINUE_NEEDED;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::channel::{Answer, GSS_S_COMPLETE};
use crate::secret::Secret;
use crate::sys::random::random_bytes;

/// How long, in seconds, a key that the kernel would not drop by itself may hold such a context, which has no end of its own.
const NULL_LIFETIME: u32 = 86_400;

/// Longest token of a server, in bytes. Lustre's has 8.
const NULL_TOKEN_LIMIT: usize = 64;

/// Releases the requester and establishes the context.
///
/// # Errors
/// [`Failure`] of the stage `Negotiate`, or that of the key's instantiation.
pub(super) fn establish(
    key: &mut KeyToAnswer,
    relay: &mut Relay,
    callout: &LustreCallout,
    deadline: Instant,
) -> Result<Agreed, Failure> {
    // No credentials can be missing.
    key.admit()?;
    let answer = answer_to(callout.roles, |token| relay.exchange(token, None, deadline))?;
    context_from(relay.granted(), answer, callout)
}

/// The server's answer to the last of our tokens. What it has taken without an answer is not sent again.
fn answer_to(
    roles: Roles,
    mut exchange: impl FnMut(&Secret) -> Result<Exchanged, Failure>,
) -> Result<Answer, Failure> {
    loop {
        let random = random_bytes().map_err(no_token)?;
        match exchange(&token(random, roles))? {
            Exchanged::Answer(answer) => return Ok(answer),
            Exchanged::Silence | Exchanged::Unwanted => {}
        }
    }
}

/// The context that the server has granted with this answer.
fn context_from(
    granted: Option<&GrantedContext>,
    answer: Answer,
    callout: &LustreCallout,
) -> Result<Agreed, Failure> {
    let bad = |what| Failure::new(Stage::Negotiate, Cause::BadReply, format_args!("{callout}: {what}"));
    let granted = match (granted, answer.gss_major) {
        (Some(granted), _) => granted,
        (None, GSS_S_COMPLETE) => return Err(bad("the server's answer has no handle")),
        (None, GSS_S_CONTINUE_NEEDED) => return Err(bad("the server wants more tokens")),
        (None, major) => {
            let detail = format_args!("{callout}: server refuses the context: GSS major {major:#x}");
            return Err(Failure::new(Stage::Negotiate, Cause::ServerRefused, detail).with_gss_major(major));
        }
    };
    let (window, handle) = granted_parts(granted)?;
    if !(1..=NULL_TOKEN_LIMIT).contains(&answer.token.len()) {
        return Err(bad("the server's answer has no token, or one too long"));
    }
    Ok(Agreed {
        context: AgreedContext::Null(NullContext { window, handle, token: answer.token }),
        lifetime: Lifetime::from_secs(NULL_LIFETIME),
        credential: "anybody".to_owned(),
        server: callout.peer.to_string(),
    })
}

/// `u64 be`: 32 random bits, then the roles.
fn token(random: [u8; 4], roles: Roles) -> Secret {
    Secret::new([random, roles.bits().to_be_bytes()].concat())
}

fn no_token(errno: Errno) -> Failure {
    Failure::new(Stage::Negotiate, Cause::Setup, format_args!("no random bits: {errno}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::negotiate::channel::lustre::decode;

    const FAILURE: u32 = 0x000d_0000;

    fn callout() -> LustreCallout {
        let text = "4:gssnull:0:0:r:n:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2d:0x20000c0a84d02:1:5f47";
        text.parse().unwrap()
    }

    /// With a token of so many bytes.
    fn answer(gss_major: u32, length: usize) -> Answer {
        Answer { gss_major, token: Secret::new(vec![7; length]), ..decode(&[0; 24]).unwrap() }
    }

    fn granted(window: u32) -> GrantedContext {
        GrantedContext { window, handle: b"handle78".to_vec() }
    }

    #[test]
    fn a_context_has_the_servers_window_handle_and_token() {
        for length in [1, 8, NULL_TOKEN_LIMIT] {
            let agreed = context_from(Some(&granted(2048)), answer(GSS_S_COMPLETE, length), &callout());
            let Ok(Agreed { context: AgreedContext::Null(context), lifetime, server, .. }) = agreed else {
                panic!("{length}: no context of this mechanism");
            };
            assert_eq!((context.window.count(), context.handle.as_bytes()), (2048, &b"handle78"[..]));
            assert_eq!(context.token.expose(), vec![7; length]);
            assert_eq!((lifetime.as_secs(), server.as_str()), (NULL_LIFETIME, "192.168.77.1@tcp"));
        }
    }

    #[test]
    fn an_answer_that_grants_no_context_fails_with_its_own_cause() {
        for (granted, gss_major, length, cause, words) in [
            (None, FAILURE, 8, Cause::ServerRefused, "server refuses the context: GSS major 0xd0000"),
            (None, GSS_S_CONTINUE_NEEDED, 8, Cause::BadReply, "wants more tokens"),
            (None, GSS_S_COMPLETE, 8, Cause::BadReply, "no handle"),
            (Some(granted(0)), GSS_S_COMPLETE, 8, Cause::BadReply, "sequence window of 0"),
            (Some(granted(1)), GSS_S_COMPLETE, 0, Cause::BadReply, "no token"),
            (Some(granted(1)), GSS_S_COMPLETE, NULL_TOKEN_LIMIT + 1, Cause::BadReply, "one too long"),
        ] {
            let made = context_from(granted.as_ref(), answer(gss_major, length), &callout());
            let failure = made.map(drop).unwrap_err();
            assert_eq!((failure.stage, failure.cause), (Stage::Negotiate, cause), "{failure}");
            assert!(failure.detail.contains(words), "{words}: {failure}");
            assert_eq!(failure.gss_major, if cause == Cause::ServerRefused { gss_major } else { 0 });
        }
    }

    #[test]
    fn a_token_that_is_not_answered_is_followed_by_another() {
        let silent = || Failure::new(Stage::Negotiate, Cause::ServerSilent, "no answer");
        for (second, expected) in
            [(Ok(Exchanged::Answer(answer(GSS_S_COMPLETE, 8))), Ok(8)), (Err(silent()), Err(silent().cause))]
        {
            let mut left = vec![second, Ok(Exchanged::Silence)];
            let mut sent = Vec::new();
            let got = answer_to(callout().roles, |token| {
                sent.push(token.expose().to_vec());
                left.pop().expect("a third token")
            });
            assert_eq!(got.map(|answer| answer.token.len()).map_err(|failure| failure.cause), expected);
            let [first, second] = sent.as_slice() else { panic!("{} tokens", sent.len()) };
            assert!(first != second && first.ends_with(&[0, 0, 0, 1]) && second.ends_with(&[0, 0, 0, 1]));
        }
    }

    /// Those of the C tool (tests/golden), with their random bits.
    #[test]
    fn a_token_is_random_bits_and_the_roles() {
        let roles =
            |text: &str| Roles { root: text.contains('r'), mdt: text.contains('m'), ost: text.contains('o') };
        for (random, letters, expected) in [
            ([0x28, 0x2b, 0x51, 0xc1], "r", [0x28, 0x2b, 0x51, 0xc1, 0, 0, 0, 1]),
            ([0x24, 0x0b, 0xf9, 0xc1], "r", [0x24, 0x0b, 0xf9, 0xc1, 0, 0, 0, 1]),
            ([1, 2, 3, 4], "", [1, 2, 3, 4, 0, 0, 0, 0]),
            ([1, 2, 3, 4], "rmo", [1, 2, 3, 4, 0, 0, 0, 7]),
        ] {
            assert_eq!(token(random, roles(letters)).expose(), expected);
        }
    }
}
