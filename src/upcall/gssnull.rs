//! The mechanism `gssnull`, which is GSS without security: no credentials and no worker. The monitor sends one token of
//! random bits and roles, and the server's token goes to the kernel as it is.

use std::time::Instant;

use nix::errno::Errno;

use super::check::{Agreed, AgreedContext};
use super::check_shared::granted_parts;
use super::exchange::Exchanged;
use super::held::Pending;
use super::relay::Relay;
use crate::ctx::Lifetime;
use crate::ctx::lustre::{LustreCallout, Roles};
use crate::ctx::payload::lustre::NullContext;
use crate::ctx::payload::user::GSS_S_CONTINUE_NEEDED;
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::channel::GSS_S_COMPLETE;
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
    key: &mut Pending,
    relay: &mut Relay,
    callout: &LustreCallout,
    deadline: Instant,
) -> Result<Agreed, Failure> {
    // No credentials can be missing.
    key.admit()?;
    let answer = loop {
        let random = random_bytes().map_err(no_token)?;
        // What the server has taken without an answer is not sent again.
        match relay.exchange(&token(random, callout.roles), None, deadline)? {
            Exchanged::Answer(answer) => break answer,
            Exchanged::Silence | Exchanged::Unwanted => {}
        }
    };
    let bad = |what| Failure::new(Stage::Negotiate, Cause::BadReply, format_args!("{callout}: {what}"));
    let granted = match (relay.granted(), answer.gss_major) {
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
