//! How a program asks for a context: description and callout of a `user` key (docs/formats.md, "Request").
//!
//! Written by clients, parsed by the front from hostile bytes. Invariant: a parsed value holds only what its grammar
//! allows, so that it can be logged and passed on; nothing in it says who the requester is.

mod error;
mod options;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

#[cfg(feature = "upcall")]
use serde::{Deserialize, Serialize};

pub use error::{CALLOUT_LIMIT, RequestError};
pub(crate) use options::Mechanism;
#[cfg(feature = "upcall")]
pub(crate) use options::{ANEW_PAUSE, NO_PAUSE};
pub use options::{Level, OnPause};

use super::initiator::Principal;
use super::preference::{CACHE_LIMIT, Preference};
#[cfg(feature = "upcall")]
use crate::class::classes;

/// Longest host name in bytes (RFC 1035 §2.3.4).
const HOST_LIMIT: usize = 253;
const SERVICE_LIMIT: usize = 64;
const INSTANCE_LIMIT: usize = 128;

/// Host-based service `service@host` (RFC 2743 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "upcall", derive(Serialize, Deserialize), serde(try_from = "String", into = "String"))]
pub struct Service {
    name: String,
    host: String,
}

impl Service {
    /// The service's name, without the host.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host part.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for Service {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        let (name, host) = text.split_once('@').ok_or(RequestError::Malformed("svc"))?;
        let name_ok = (1..=SERVICE_LIMIT).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
            && !name.starts_with('-');
        if name_ok && is_host(host) {
            Ok(Self { name: name.to_owned(), host: host.to_owned() })
        } else {
            Err(RequestError::Malformed("svc"))
        }
    }
}

/// Host names and IPv4 literals; no leading dash or dot.
pub(crate) fn is_host(host: &str) -> bool {
    (1..=HOST_LIMIT).contains(&host.len())
        && host.starts_with(|c: char| c.is_ascii_alphanumeric())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

impl TryFrom<String> for Service {
    type Error = RequestError;

    fn try_from(text: String) -> Result<Self, RequestError> {
        text.parse()
    }
}

impl From<Service> for String {
    fn from(service: Service) -> Self {
        service.to_string()
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.host)
    }
}

/// Whose context a description names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The caller does not know its uid in the initial user namespace.
    Caller,
    /// This uid.
    Uid(u32),
}

/// A key's description, which makes the context unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Whose context.
    pub owner: Owner,
    /// For which service.
    pub service: Service,
    /// Tells several contexts of one owner and service apart.
    pub instance: Option<String>,
}

impl FromStr for Description {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        printable(text)?;
        let rest = text.strip_prefix("lgss:").ok_or(RequestError::Description)?;
        let (owner, rest) = rest.split_once(':').ok_or(RequestError::Description)?;
        let (service, instance) = match rest.split_once(':') {
            Some((service, instance)) => (service, Some(instance)),
            None => (rest, None),
        };
        if instance.is_some_and(|i| i.is_empty() || i.len() > INSTANCE_LIMIT) {
            return Err(RequestError::Description);
        }
        let owner = match owner {
            "self" => Owner::Caller,
            digits => Owner::Uid(decimal(digits).ok_or(RequestError::Description)?),
        };
        let service = service.parse().map_err(|_| RequestError::Description)?;
        Ok(Self { owner, service, instance: instance.map(str::to_owned) })
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner {
            Owner::Caller => write!(f, "lgss:self:{}", self.service)?,
            Owner::Uid(uid) => write!(f, "lgss:{uid}:{}", self.service)?,
        }
        self.instance.iter().try_for_each(|instance| write!(f, ":{instance}"))
    }
}

/// Plain decimal as the kernel prints it: digits only, no leading zeros.
fn decimal<T: FromStr>(digits: &str) -> Option<T> {
    let canonical = digits == "0" || !digits.starts_with('0');
    (canonical && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn printable(text: &str) -> Result<(), RequestError> {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) { Ok(()) } else { Err(RequestError::NotPrintable) }
}

/// An ONC RPC service on TCP: `rpc:<host>:<port>,<program>,<version>`, IPv6 literals in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "upcall", derive(Serialize, Deserialize))]
pub struct RpcChannel {
    /// Host name, IPv4 literal, or IPv6 literal without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// RPC program number.
    pub program: u32,
    /// Version of the program.
    pub version: u32,
}

#[cfg(feature = "upcall")]
classes!(RpcChannel { host: public, port: public, program: public, version: public });

impl FromStr for RpcChannel {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        let bad = RequestError::Malformed("chan");
        let rest = text.strip_prefix("rpc:").ok_or(bad)?;
        let (host, rest) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (address, rest) = bracketed.split_once("]:").ok_or(bad)?;
                address.parse::<std::net::Ipv6Addr>().map_err(|_| bad)?;
                (address, rest)
            }
            None => {
                let (host, rest) = rest.split_once(':').ok_or(bad)?;
                (is_host(host).then_some(host).ok_or(bad)?, rest)
            }
        };
        let mut numbers = rest.split(',');
        let mut next = || numbers.next().ok_or(bad);
        let (port, program, version) = (next()?, next()?, next()?);
        let port = decimal(port).filter(|&port: &u16| port != 0).ok_or(bad)?;
        let (program, version) = (decimal(program).ok_or(bad)?, decimal(version).ok_or(bad)?);
        if numbers.next().is_some() {
            return Err(bad);
        }
        Ok(Self { host: host.to_owned(), port, program, version })
    }
}

impl fmt::Display for RpcChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "rpc:{open}{}{close}:{},{},{}", self.host, self.port, self.program, self.version)
    }
}

/// The callout: `lgss1;` and `name=value` fields separated by `;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Callout {
    /// `mech`, optional, krb5 if absent.
    pub mechanism: Mechanism,
    /// `svc`, the same as in the description.
    pub service: Service,
    /// `chan`, how tokens reach the server.
    pub channel: RpcChannel,
    /// `level`, optional.
    pub level: Level,
    /// `cache`, optional: name of a credential cache.
    pub cache: Option<String>,
    /// `prefer`, optional: what the program's KRB5CCNAME is now.
    pub prefer: Option<Preference>,
    /// `ttl`, optional: upper bound of the context's lifetime.
    pub ttl: Option<Duration>,
    /// `principal`, optional: whom the context is to speak for, and nobody else.
    pub principal: Option<Principal>,
    /// `anew`, optional: what the request does in a pause after failures.
    pub on_pause: OnPause,
}

impl FromStr for Callout {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        if text.len() > CALLOUT_LIMIT {
            return Err(RequestError::TooLong);
        }
        printable(text)?;
        let fields = text.strip_prefix("lgss1;").ok_or(RequestError::Version)?;
        let mut values = FieldValues::default();
        // One separator may follow the last field.
        for field in fields.strip_suffix(';').unwrap_or(fields).split(';') {
            values.put(field)?;
        }
        values.try_into()
    }
}

#[cfg(feature = "upcall")]
classes!(Callout {
    mechanism [mech]: public,
    service [svc]: public,
    channel [chan]: public,
    level: public,
    cache: public,
    prefer: public,
    ttl: public,
    principal: public,
    on_pause [anew]: public,
});

#[derive(Default)]
struct FieldValues<'a> {
    mech: Option<&'a str>,
    svc: Option<&'a str>,
    chan: Option<&'a str>,
    level: Option<&'a str>,
    cache: Option<&'a str>,
    prefer: Option<&'a str>,
    ttl: Option<&'a str>,
    principal: Option<&'a str>,
    anew: Option<&'a str>,
}

impl<'a> FieldValues<'a> {
    fn put(&mut self, field: &'a str) -> Result<(), RequestError> {
        let (name, value) = field.split_once('=').ok_or(RequestError::UnknownField)?;
        let (name, slot) = match name {
            "mech" => ("mech", &mut self.mech),
            "svc" => ("svc", &mut self.svc),
            "chan" => ("chan", &mut self.chan),
            "level" => ("level", &mut self.level),
            "cache" => ("cache", &mut self.cache),
            "prefer" => ("prefer", &mut self.prefer),
            "ttl" => ("ttl", &mut self.ttl),
            "principal" => ("principal", &mut self.principal),
            "anew" => ("anew", &mut self.anew),
            _ => return Err(RequestError::UnknownField),
        };
        if value.is_empty() {
            return Err(RequestError::Malformed(name));
        }
        match slot.replace(value) {
            Some(_) => Err(RequestError::Duplicate(name)),
            None => Ok(()),
        }
    }
}

impl TryFrom<FieldValues<'_>> for Callout {
    type Error = RequestError;

    fn try_from(values: FieldValues<'_>) -> Result<Self, RequestError> {
        let ttl =
            values.ttl.map(|ttl| decimal(ttl).filter(|&s: &u32| s > 0).ok_or(RequestError::Malformed("ttl")));
        let principal =
            values.principal.map(|name| Principal::new(name).ok_or(RequestError::Malformed("principal")));
        let prefer =
            values.prefer.map(|name| Preference::of_field(name).ok_or(RequestError::Malformed("prefer")));
        if values.cache.is_some_and(|cache| cache.len() > CACHE_LIMIT) {
            return Err(RequestError::Malformed("cache"));
        }
        Ok(Self {
            mechanism: match values.mech {
                None | Some("krb5") => Mechanism::Krb5,
                Some(_) => return Err(RequestError::Malformed("mech")),
            },
            service: values.svc.ok_or(RequestError::Missing("svc"))?.parse()?,
            channel: values.chan.ok_or(RequestError::Missing("chan"))?.parse()?,
            level: values.level.map_or(Ok(Level::default()), str::parse)?,
            cache: values.cache.map(str::to_owned),
            prefer: prefer.transpose()?,
            ttl: ttl.transpose()?.map(|seconds| Duration::from_secs(seconds.into())),
            principal: principal.transpose()?,
            on_pause: values.anew.map_or(Ok(OnPause::Respect), str::parse)?,
        })
    }
}

impl fmt::Display for Callout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lgss1;mech=krb5;svc={};chan={};level={}", self.service, self.channel, self.level)?;
        self.cache.iter().try_for_each(|cache| write!(f, ";cache={cache}"))?;
        self.prefer.iter().try_for_each(|prefer| write!(f, ";prefer={prefer}"))?;
        self.ttl.iter().try_for_each(|ttl| write!(f, ";ttl={}", ttl.as_secs()))?;
        self.principal.iter().try_for_each(|principal| write!(f, ";principal={principal}"))?;
        match self.on_pause {
            OnPause::Respect => Ok(()),
            OnPause::Break => f.write_str(";anew=1"),
            OnPause::EndOnly => f.write_str(";anew=only"),
        }
    }
}

#[cfg(test)]
mod tests;
