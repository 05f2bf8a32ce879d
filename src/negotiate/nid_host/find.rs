//! Finds a host name in the worker: from the settings, else by the name service or the site's program, depending on the
//! network driver.
//!
//! Invariant: the result has only the characters of a host name, whatever its source.

use std::io;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::time::Instant;

use super::lookup::HostLookup;
use super::program;
use crate::ctx::request::is_host;
use crate::event::{Cause, Failure, Stage};
use crate::nid::{Lnd, Nid};
use crate::sys::name_service;

/// Looks up names and addresses. Calls may block for as long as the resolver's configuration allows.
pub trait NameService {
    /// The name of an address, never the address as text.
    ///
    /// # Errors
    /// The resolver's.
    fn name_of(&self, address: Ipv4Addr) -> io::Result<String>;

    /// The addresses of a name.
    ///
    /// # Errors
    /// The resolver's.
    fn addresses_of(&self, name: &str) -> io::Result<Vec<IpAddr>>;

    /// The full name.
    ///
    /// # Errors
    /// The resolver's.
    fn canonical_name(&self, name: &str) -> io::Result<String>;

    /// This host's name (uname(2)).
    ///
    /// # Errors
    /// For a name that is not UTF-8.
    fn host_name(&self) -> io::Result<String>;
}

/// This machine's name service, as nsswitch.conf sets it up.
#[derive(Debug, Clone, Copy)]
pub struct SystemNames;

impl NameService for SystemNames {
    fn name_of(&self, address: Ipv4Addr) -> io::Result<String> {
        name_service::name_of(address)
    }

    fn addresses_of(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }

    fn canonical_name(&self, name: &str) -> io::Result<String> {
        name_service::canonical_name(name)
    }

    fn host_name(&self) -> io::Result<String> {
        let name = nix::unistd::gethostname()?;
        name.into_string().map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

impl HostLookup {
    /// Whether only the site's program can know the host name.
    pub(crate) fn is_by_program(&self) -> bool {
        let by_program = |lnd: Lnd| !lnd.by_ip() && lnd != Lnd::Lo;
        self.configured.is_none() && self.proposed.is_none() && self.nid.lnd().is_some_and(by_program)
    }

    /// The host name. The site's program is killed at the deadline. The name service cannot be interrupted, so the caller's
    /// watch keeps its time.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Resolve`: `UnnamedNid`, `UnconfirmedName` or `BadProgram`.
    pub fn host(&self, names: &impl NameService, deadline: Instant) -> Result<String, Failure> {
        if let Some(name) = &self.configured {
            return self.checked(name, "[lustre.nids]");
        }
        if let Some(name) = &self.proposed {
            let name = self.checked(name, "the hook")?;
            return match self.nid.lnd() {
                Some(lnd) if lnd.by_ip() => self.confirmed(name, names),
                _ => Ok(name),
            };
        }
        match self.nid.lnd() {
            Some(lnd) if lnd.by_ip() => self.by_address(names),
            Some(Lnd::Lo) if self.nid.address() == 0 => own_host(names),
            Some(Lnd::Lo) => Err(self.unnamed("an identifier of this machine itself has the address 0")),
            Some(lnd) => self.by_program(lnd, deadline),
            None if self.nid.is_any() => Err(self.unnamed("it stands for any node")),
            None => Err(self.unnamed("its network driver is not known")),
        }
    }

    /// Forward-confirmed reverse lookup.
    fn by_address(&self, names: &impl NameService) -> Result<String, Failure> {
        let address = Ipv4Addr::from_bits(self.nid.address());
        let name = names
            .name_of(address)
            .map_err(|error| self.unnamed(format_args!("name of {address}: {error}")))?;
        self.confirmed(self.checked(&name, "name service")?, names)
    }

    /// The name of an IP address, if it has that address or the settings trust it as it is (rule S17).
    fn confirmed(&self, name: String, names: &impl NameService) -> Result<String, Failure> {
        if self.trust_unconfirmed_names {
            return Ok(name);
        }
        let address = Ipv4Addr::from_bits(self.nid.address());
        let unconfirmed = |detail: String| {
            Failure::new(Stage::Resolve, Cause::UnconfirmedName, format_args!("{detail} (S17)"))
        };
        let addresses = names.addresses_of(&name).map_err(|error| {
            unconfirmed(format!("{}: {address} is {name}, addresses of {name}: {error}", self.nid))
        })?;
        if addresses.contains(&IpAddr::V4(address)) {
            return Ok(name);
        }
        let listed: Vec<_> = addresses.iter().take(3).map(IpAddr::to_string).collect();
        Err(unconfirmed(format!("{}: {address} is {name}, but {name} is {}", self.nid, listed.join(", "))))
    }

    fn by_program(&self, lnd: Lnd, deadline: Instant) -> Result<String, Failure> {
        let arguments = [
            lnd.program_name().to_owned(),
            format!("{:#x}", self.nid.network()),
            format!("{:#x}", self.nid.address()),
        ];
        let bad = |cause: Cause, detail: &dyn std::fmt::Display| {
            let (nid, program) = (self.nid, self.program.display());
            Failure::new(Stage::Resolve, cause, format_args!("{nid}: {program}: {detail}"))
        };
        let line = program::first_line(&self.program, &arguments, deadline)
            .map_err(|error| bad(Cause::BadProgram, &error))?;
        match line.strip_prefix('@') {
            Some(reason) => Err(bad(Cause::UnnamedNid, &reason.trim())),
            None => self.checked(&line, &self.program.display().to_string()),
        }
    }

    fn checked(&self, name: &str, source: &str) -> Result<String, Failure> {
        normalised(name).ok_or_else(|| {
            self.unnamed(format_args!("{source} gives {:?}, which is no host name", cut(name)))
        })
    }

    fn unnamed(&self, detail: impl std::fmt::Display) -> Failure {
        Failure::new(Stage::Resolve, Cause::UnnamedNid, format_args!("{}: {detail}", self.nid))
    }
}

/// This host's full name.
///
/// # Errors
/// [`Failure`] of the stage `Resolve`.
pub(crate) fn own_host(names: &impl NameService) -> Result<String, Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::new(Stage::Resolve, Cause::UnnamedNid, format_args!("this machine: {what}: {error}"))
    };
    let own = names.host_name().map_err(|error| failed("uname", &error))?;
    let name =
        names.canonical_name(&own).map_err(|error| failed(&format!("name of {own} in full"), &error))?;
    normalised(&name).ok_or_else(|| failed("no host name", &format_args!("{:?}", cut(&name))))
}

/// The name without DNS's final dot and in small letters, as principals have it; `None` if it is no host name.
fn normalised(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    is_host(name).then(|| name.to_ascii_lowercase())
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

/// For messages about a resolver that does not answer.
impl std::fmt::Display for HostLookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Nid::lnd(self.nid) {
            Some(lnd) if !lnd.by_ip() && lnd != Lnd::Lo => {
                write!(f, "host name of {} by {}", self.nid, self.program.display())
            }
            _ => write!(f, "host name of {}", self.nid),
        }
    }
}

#[cfg(test)]
mod tests;
