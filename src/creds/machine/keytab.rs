//! The keytab as a source of credentials: which of its principals are acceptable, and a ticket-granting ticket by the
//! key of one.

use std::fmt;
use std::time::{Duration, Instant};

use super::account::{Basis, MachineAccount, setup};
use super::rules::Acceptable;
use crate::config::Enctypes;
use crate::creds::ticket::{CacheNames, cause_of, tried};
use crate::crypto::enctype::Enctype;
use crate::event::{Cause, Failure, Stage};
use crate::gss::keytab::{Keytab, KeytabEntry};
use crate::gss::krb5::Library;
use crate::gss::principal::Krb5Principal;
use crate::gss::private_cache::PrivateCache;
use crate::gss::status::{Krb5Error, Krb5Reason};

/// Most entries of a keytab that are read.
const MACHINE_ENTRIES_LIMIT: usize = 4096;
/// Most principals that a KDC is asked for.
const PRINCIPALS_ASKED: usize = 4;
/// Most principals that are listed if none is acceptable.
const LISTED_LIMIT: usize = 4;

/// Acceptable principals with keys, in the order in which they are tried; at least one.
#[derive(Debug)]
pub struct KeytabPrincipals {
    library: Library,
    keytab: Keytab,
    name: CacheNames,
    principals: Vec<Krb5Principal>,
    enctypes: Vec<Enctype>,
}

impl KeytabPrincipals {
    /// Finds the acceptable principals, in the keytab's order, except that the one that serves every role comes last.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn find(library: &Library, name: CacheNames, acceptable: &Acceptable) -> Result<Self, String> {
        let failed = |error: Krb5Error| format!("{}: {}", name.shown(), name.in_words(&error.message));
        let keytab = Keytab::resolve(library, &name.library).map_err(failed)?;
        let entries = keytab.entries(MACHINE_ENTRIES_LIMIT).map_err(failed)?;
        let enctypes = library.permitted(Enctypes::default().as_slice()).map_err(failed)?;
        let mut principals: Vec<Krb5Principal> = Vec::new();
        let mut passed_over: Vec<String> = Vec::new();
        for KeytabEntry { principal, enctype, .. } in entries {
            let usable = Enctype::try_from(enctype).is_ok_and(|enctype| enctypes.contains(&enctype));
            if !acceptable.accepts(&principal.name()) {
                note(&mut passed_over, principal.to_string());
            } else if !usable {
                note(&mut passed_over, format!("{principal} (key type {enctype}, not permitted)"));
            } else if !principals.iter().any(|known| known.name() == principal.name()) {
                principals.push(principal);
            }
        }
        principals.sort_by_key(|principal| acceptable.is_last_resort(&principal.name()));
        principals.truncate(PRINCIPALS_ASKED);
        if principals.is_empty() {
            return Err(format!("{}: {}", name.shown(), listed(&passed_over)));
        }
        Ok(Self { library: library.clone(), keytab, name, principals, enctypes })
    }

    /// Gets a ticket-granting ticket for the first principal whose key a KDC accepts.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Kdc`.
    pub(super) fn account(self) -> Result<MachineAccount, Failure> {
        let (mut refusals, mut causes) = (Vec::new(), Vec::new());
        for principal in &self.principals {
            let begun = Instant::now();
            match self.keytab.ticket_granting(principal, &self.enctypes) {
                Ok(cache) => return self.of(cache),
                Err(error) if is_about_this_principal(&error) => {
                    causes.push(cause_of(&error, begun.elapsed()));
                    refusals.push(format!("{principal}: {}", self.name.in_words(&error.message)));
                }
                Err(error) => return Err(self.failure(principal, &error, begun.elapsed())),
            }
        }
        let detail = format!("{}: {}", self.name.shown(), refusals.join("; "));
        // The keys are not to blame if the KDC objects to the only account.
        let cause = match causes[..] {
            [cause @ (Cause::ClientRevoked | Cause::ClientExpired | Cause::KdcPolicy)] => cause,
            _ => Cause::KeytabRefused,
        };
        Err(Failure::new(Stage::Kdc, cause, detail))
    }

    fn failure(&self, principal: &Krb5Principal, error: &Krb5Error, elapsed: Duration) -> Failure {
        let mut message = tried(error, self.name.in_words(&error.message));
        if error.reason() == Krb5Reason::ClockSkew {
            let known = self.library.explain_skew("KDC", None, None);
            message.extend(known.into_iter().flat_map(|known| [": ".to_owned(), known]));
        }
        let detail = format_args!("{principal} by {}: {message}", self.name.shown());
        Failure::new(Stage::Kdc, cause_of(error, elapsed), detail)
    }

    fn of(&self, cache: PrivateCache) -> Result<MachineAccount, Failure> {
        let client = cache.open().and_then(|cache| cache.principal());
        client
            .and_then(|client| {
                let display = self.name.display.clone();
                MachineAccount::new(&self.library, cache, display, client, Basis::Keytab)
            })
            .map_err(|error| setup(&error))
    }
}

impl fmt::Display for KeytabPrincipals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.principals.iter().map(Krb5Principal::to_string).collect();
        write!(f, "{} by {}", names.join(" or "), self.name.shown())
    }
}

/// The principals of a keytab; none if it cannot be read.
pub(super) fn principals(library: &Library, name: &CacheNames) -> Vec<Krb5Principal> {
    let entries =
        Keytab::resolve(library, &name.library).and_then(|keytab| keytab.entries(MACHINE_ENTRIES_LIMIT));
    entries.unwrap_or_default().into_iter().map(|entry| entry.principal).collect()
}

/// Whether another principal may succeed: a KDC has answered, and its error is not about clocks.
fn is_about_this_principal(error: &Krb5Error) -> bool {
    matches!(
        error.reason(),
        Krb5Reason::UnknownClient
            | Krb5Reason::ClientRevoked
            | Krb5Reason::ClientExpired
            | Krb5Reason::Policy
            | Krb5Reason::WrongKey
            | Krb5Reason::StaleKey
            | Krb5Reason::Enctype
            | Krb5Reason::SessionKey
            | Krb5Reason::ProtocolError
    )
}

fn note(passed_over: &mut Vec<String>, principal: String) {
    if !passed_over.contains(&principal) {
        passed_over.push(principal);
    }
}

fn listed(principals: &[String]) -> String {
    let shown = principals.get(..LISTED_LIMIT).unwrap_or(principals);
    match principals.len().saturating_sub(shown.len()) {
        _ if principals.is_empty() => "no keys".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_that_will_not_do_are_listed_once_and_the_rest_is_counted() {
        assert_eq!(listed(&[]), "no keys");
        let mut passed_over = Vec::new();
        for name in ["a", "b", "a", "c", "d"] {
            note(&mut passed_over, name.to_owned());
        }
        assert_eq!(listed(&passed_over), "a, b, c, d");
        note(&mut passed_over, "e".to_owned());
        assert_eq!(listed(&passed_over), "a, b, c, d and 1 more");
    }
}
