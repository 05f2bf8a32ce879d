//! Which principals a machine may use with a Lustre server, and which ticket-granting tickets are good enough.

use std::fmt;

use crate::crypto::enctype::Enctype;
use crate::ctx::lustre::Roles;
use crate::gss::listing::Granting;
use crate::gss::principal::Name;
use crate::time::Span;

/// A ticket with this many seconds left is good, whatever its lifetime.
const ENOUGH: u64 = 30 * 60;

/// Which principals are acceptable for one request.
#[derive(Debug)]
pub(super) struct Acceptable {
    /// The machine's realm.
    pub realm: String,
    /// The roles in which the machine asks. A principal for any one of them will do, since a machine's management
    /// client asks in all of them.
    pub roles: Roles,
    /// The machine's host name; `None` if any will do.
    pub host: Option<String>,
    /// The only principal, where the settings name one.
    pub only: Option<Name>,
}

impl Acceptable {
    /// Whether a principal will do.
    pub(super) fn accepts(&self, principal: &Name) -> bool {
        if let Some(only) = &self.only {
            return principal == only;
        }
        if principal.realm != self.realm {
            return false;
        }
        let Roles { root, mdt, ost } = self.roles;
        match principal.components.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["lustre_root"] => self.client_only(),
            ["lustre_role", _] => root,
            ["lustre_root" | "host", host] => root && self.is_here(host),
            ["lustre_mds", host] => mdt && self.is_here(host),
            ["lustre_oss", host] => ost && self.is_here(host),
            ["lustre_mgs", host] => self.roles.any() && self.is_here(host),
            _ => false,
        }
    }

    /// The host name in an acceptable principal, if it has one.
    pub(super) fn host_of(&self, principal: &Name) -> Option<String> {
        match principal.components.as_slice() {
            [service, host] if service != "lustre_role" && self.only.is_none() && self.accepts(principal) => {
                Some(host.to_ascii_lowercase())
            }
            _ => None,
        }
    }

    /// Whether it is the principal that serves every role, and therefore comes after the others.
    pub(super) fn is_last_resort(&self, principal: &Name) -> bool {
        self.only.is_none() && principal.components.first().is_some_and(|name| name == "lustre_mgs")
    }

    /// Whether the name is this host's; case does not matter.
    fn is_here(&self, host: &str) -> bool {
        self.host.as_ref().is_none_or(|here| host.eq_ignore_ascii_case(here))
    }

    fn client_only(&self) -> bool {
        self.roles.root && !self.roles.mdt && !self.roles.ost
    }
}

impl fmt::Display for Acceptable {
    /// In words for an administrator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(only) = &self.only {
            return write!(f, "{}@{}", only.components.join("/"), only.realm);
        }
        let Roles { root, mdt, ost } = self.roles;
        let root_name = if self.client_only() { "lustre_root[/HOST], " } else { "lustre_root/HOST, " };
        for (wanted, names) in [
            (root, root_name),
            (root, "host/HOST, lustre_role/ROLE, "),
            (mdt, "lustre_mds/HOST, "),
            (ost, "lustre_oss/HOST, "),
        ] {
            f.write_str(if wanted { names } else { "" })?;
        }
        let host = self.host.as_deref().unwrap_or("whatever this machine's is");
        write!(f, "or lustre_mgs/HOST, HOST {host}, realm {}", self.realm)
    }
}

/// Whether a ticket-granting ticket can be used at `now`, in seconds since the epoch, and lasts long enough.
///
/// # Errors
/// The reason, in words.
pub(super) fn good(ticket: Granting, now: u64) -> Result<(), String> {
    let (start, end) = (u64::from(ticket.start), u64::from(ticket.end));
    if Enctype::try_from(ticket.enctype).is_err() {
        return Err(format!("the session key is of type {}, not AES", ticket.enctype));
    }
    if ticket.invalid {
        return Err("the ticket is postdated and not validated".to_owned());
    }
    if start > now {
        return Err(format!("the ticket becomes valid in {}", Span(start - now).rounded()));
    }
    if end <= now {
        return Err(format!("the ticket expired {} ago", Span(now - end).rounded()));
    }
    if end - now <= ENOUGH.min((end - start) / 4) {
        return Err(format!("the ticket has only {} left", Span(end - now).rounded()));
    }
    Ok(())
}

/// Until when other requests can use the ticket too: from then on [`good`] refuses it.
pub(super) fn good_until(ticket: Granting) -> u32 {
    let (start, end) = (u64::from(ticket.start), u64::from(ticket.end));
    let needed = ENOUGH.min(end.saturating_sub(start) / 4);
    ticket.end.saturating_sub(u32::try_from(needed).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
