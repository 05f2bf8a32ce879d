//! Whose tickets are wanted.
//!
//! Used by `obtain` and `holding`.

use nix::unistd::{User, getuid};

use super::arguments::KinitArguments;
use super::failure::KinitFailure;
use super::place::TicketPlace;
use crate::gss::keytab::Keytab;
use crate::gss::krb5::Library;
use crate::gss::principal::Krb5Principal;

/// The principal that is named; else the keytab's or the host's, that of the cache that is there, or the user's.
pub(super) fn choose(
    arguments: &KinitArguments,
    library: &Library,
    place: &TicketPlace,
) -> Result<Krb5Principal, KinitFailure> {
    let named = arguments.principal.as_deref();
    match named {
        _ if arguments.anonymous => anonymous(library, named),
        None if !arguments.by_keytab() => match place.open(library).and_then(|cache| cache.principal()) {
            Ok(client) => Ok(client),
            Err(_) => library.principal(&own_name()?).map_err(KinitFailure::Client),
        },
        _ => of_keytab(arguments, library),
    }
}

/// The principal that is named; else the client keytab's or the host's.
pub(super) fn of_keytab(
    arguments: &KinitArguments,
    library: &Library,
) -> Result<Krb5Principal, KinitFailure> {
    match arguments.principal.as_deref() {
        Some(name) if arguments.enterprise => library.enterprise(name).map_err(KinitFailure::Client),
        Some(name) => library.principal(name).map_err(KinitFailure::Client),
        None if arguments.client_keytab => first_of_the_client_keytab(library),
        None => library.host().map_err(KinitFailure::Client),
    }
}

fn anonymous(library: &Library, named: Option<&str>) -> Result<Krb5Principal, KinitFailure> {
    match named {
        // A whole principal is taken as it is.
        Some(name) if !name.starts_with('@') => library.principal(name),
        _ => library.anonymous(named.and_then(|realm| realm.strip_prefix('@'))),
    }
    .map_err(KinitFailure::Client)
}

fn first_of_the_client_keytab(library: &Library) -> Result<Krb5Principal, KinitFailure> {
    let entries = Keytab::of_the_client(library).and_then(|keytab| keytab.entries(1));
    let mut entries = entries.map_err(KinitFailure::Keytab)?;
    entries.pop().map(|entry| entry.principal).ok_or(KinitFailure::EmptyKeytab)
}

fn own_name() -> Result<String, KinitFailure> {
    let uid = getuid();
    let user = User::from_uid(uid).ok().flatten();
    user.map(|user| user.name).ok_or(KinitFailure::NoName(uid.as_raw()))
}
