//! A ticket-granting ticket as one plain key, `krbtgt/REALM@REALM`, which `lgss_keyring` finds in session and user keyring: less
//! than a cache, and as little of the quota as can be.
//!
//! Used by `kinit`. Invariant: nobody sees the key before it has its permissions and its end.

use std::ffi::{CStr, CString};
use std::time::Duration;

use nix::errno::Errno;

use super::collection_ring;
use super::failure::KinitFailure;
use super::values::KeyringWord;
use crate::gss::private_cache::PrivateCache;
use crate::gss::status::Krb5Error;
use crate::sys::keyctl;
use crate::time;

const USER: &CStr = c"user";

/// Stores the ticket for the client's own realm. Whoever looks finds an older one of that realm or this. Returns the key's name.
///
/// # Errors
/// There is no such ticket, or the kernel's: EDQUOT.
pub(super) fn store(tickets: &PrivateCache, keyring: KeyringWord) -> Result<String, KinitFailure> {
    let refused = |name: &str, error| KinitFailure::Store { name: name.to_owned(), error };
    let cache = tickets.open().map_err(KinitFailure::Client)?;
    let (client, granting) = cache.client_and_granting().map_err(KinitFailure::Client)?;
    let realm = client.name().realm;
    let name = format!("krbtgt/{realm}@{realm}");
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
    let ring = collection_ring::base(keyring.anchor())?.ok_or(Errno::EINVAL)?;
    let key = keyctl::add(USER, &name, content, keyctl::PROCESS_KEYRING)?;
    keyctl::set_timeout(key, life)?;
    keyctl::set_permissions(key, collection_ring::PRIVATE)?;
    let linked = keyctl::link(key, ring);
    // It need not be there until the end of this process.
    let _ = keyctl::unlink(key, keyctl::PROCESS_KEYRING);
    linked
}
