//! A ticket-granting ticket as one plain key, `krbtgt/REALM@REALM`, which `lgss_keyring` finds in session and user keyring: less
//! than a cache, and as little of the quota as can be.

use std::ffi::{CStr, CString};
use std::time::Duration;

use nix::errno::Errno;

use super::failure::KinitFailure;
use super::values::KeyringWord;
use crate::gss::private_cache::PrivateCache;
use crate::gss::status::Krb5Error;
use crate::sys::keyctl;
use crate::time;

const USER: &CStr = c"user";
/// All rights for the possessor, and for the user to see that it exists: as a cache's keys have them.
const PERMISSIONS: u32 = 0x3f01_0000;

/// Stores the ticket for the client's own realm. Whoever looks finds an older one of that realm or this. Returns the key's name.
///
/// # Errors
/// There is no such ticket, or the kernel's: EDQUOT.
pub(super) fn store(tickets: &PrivateCache, keyring: KeyringWord) -> Result<String, KinitFailure> {
    let refused = |name: &str, error| KinitFailure::Store { name: name.to_owned(), error };
    let cache = tickets.open().map_err(KinitFailure::Client)?;
    let client = cache.principal().map_err(KinitFailure::Client)?;
    let realm = client.name().realm;
    let name = format!("krbtgt/{realm}@{realm}");
    let granting = cache.last_granting(&client).map_err(|error| refused(&name, error))?;
    let Some((times, ticket)) = granting else {
        return Err(refused(&name, Krb5Error::no_cache("no ticket of this kind was got")));
    };
    let file = ticket.as_file(&client).map_err(|error| refused(&name, error))?;
    let life = u64::from(times.end).saturating_sub(time::now());
    add(&name, file.expose(), Duration::from_secs(life), keyring)
        .map_err(|errno| refused(&name, Krb5Error::of_kernel(errno)))?;
    Ok(name)
}

/// Makes the key where nobody sees it, and links it when it is complete: the kernel then removes another of this name.
fn add(name: &str, content: &[u8], life: Duration, keyring: KeyringWord) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    let ring = ring(keyring)?;
    let key = keyctl::add(USER, &name, content, keyctl::PROCESS_KEYRING)?;
    keyctl::set_timeout(key, life)?;
    keyctl::set_permissions(key, PERMISSIONS)?;
    let linked = keyctl::link(key, ring);
    // It need not be there until the end of this process.
    let _ = keyctl::unlink(key, keyctl::PROCESS_KEYRING);
    linked
}

fn ring(keyring: KeyringWord) -> Result<i32, Errno> {
    match keyring {
        // By its number: to the special id the kernel would add keys in a new session, if this process has none of its own.
        KeyringWord::Session => keyctl::keyring_id(keyctl::SESSION_KEYRING),
        KeyringWord::User => {
            // A session need not lead to it, and what is in it is its possessor's only.
            keyctl::link(keyctl::USER_KEYRING, keyctl::PROCESS_KEYRING)?;
            keyctl::keyring_id(keyctl::USER_KEYRING)
        }
        KeyringWord::Persistent(_) | KeyringWord::Process | KeyringWord::Thread => Err(Errno::EINVAL),
    }
}
