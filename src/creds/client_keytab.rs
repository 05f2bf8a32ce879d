//! A user's keytab: gets a ticket-granting ticket into the memory of this process, for when no cache is usable.

use std::time::Instant;

use super::ticket::{CacheNames, ClientAccount, cause_of, tried};
use crate::config::Enctypes;
use crate::event::{Cause, Failure, Stage};
use crate::gss::keytab::Keytab;
use crate::gss::krb5::Library;
use crate::gss::principal::Krb5Principal;
use crate::gss::private_cache::PrivateCache;
use crate::gss::status::{Krb5Error, Krb5Reason};

/// Most entries of a user's keytab that are read.
const USER_ENTRIES_LIMIT: usize = 256;
/// Most principals that a KDC is asked for.
const PRINCIPALS_LIMIT: usize = 4;

/// An account with its tickets in memory, and that memory.
#[derive(Debug)]
pub(crate) struct KeytabAccount {
    // Dropped before the memory that it refers to.
    account: ClientAccount,
    _memory: PrivateCache,
}

impl KeytabAccount {
    /// Asks a KDC for a ticket-granting ticket of the first principal whose key it accepts.
    ///
    /// # Errors
    /// [`Failure`]: `NoTicket` without a key, `BadCache`, and those of the stage `Kdc`.
    pub(crate) fn of(library: &Library, name: CacheNames) -> Result<Self, Failure> {
        let unusable = |error: Krb5Error| {
            let detail = format!("{}: {}", name.shown(), name.in_words(&error.message));
            Failure::new(Stage::Credentials, Cause::BadCache, detail)
        };
        let keytab = Keytab::resolve(library, &name.library).map_err(unusable)?;
        let enctypes = library.permitted(Enctypes::default().as_slice()).map_err(unusable)?;
        let mut principals: Vec<Krb5Principal> = Vec::new();
        for entry in keytab.entries(USER_ENTRIES_LIMIT).map_err(unusable)? {
            let is_new = principals.iter().all(|known| known.name() != entry.principal.name());
            principals.extend(is_new.then_some(entry.principal));
        }
        let mut refused: Option<Failure> = None;
        for principal in principals.iter().take(PRINCIPALS_LIMIT) {
            let begun = Instant::now();
            let error = match keytab.ticket_granting(principal, &enctypes) {
                Ok(memory) => return Self::with(library, memory, name),
                Err(error) => error,
            };
            let message = tried(&error, name.in_words(&error.message));
            let detail = format!("{principal} by {}: {message}", name.shown());
            let before = refused.map(|before| before.detail + "; ").unwrap_or_default();
            refused = Some(Failure::new(Stage::Kdc, cause_of(&error, begun.elapsed()), before + &detail));
            // An error about the KDC itself applies to every principal.
            if !matches!(
                error.reason(),
                Krb5Reason::UnknownClient
                    | Krb5Reason::ClientRevoked
                    | Krb5Reason::ClientExpired
                    | Krb5Reason::WrongKey
            ) {
                break;
            }
        }
        let none =
            || Failure::new(Stage::Credentials, Cause::NoTicket, format_args!("{}: no keys", name.shown()));
        Err(refused.unwrap_or_else(none))
    }

    fn with(library: &Library, memory: PrivateCache, name: CacheNames) -> Result<Self, Failure> {
        let names = CacheNames { library: memory.text(), display: name.display };
        let account = ClientAccount::open(library, names)?;
        Ok(Self { account, _memory: memory })
    }

    /// The account that gets tickets for services.
    pub(crate) fn account(&self) -> &ClientAccount {
        &self.account
    }
}
