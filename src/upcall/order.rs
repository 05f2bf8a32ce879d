//! What the monitor has been left to do: the words of the upcall parsed once more, and what follows from their kind.

use std::path::Path;

use super::claim::Invocation;
use crate::config::Config;
use crate::ctx::lustre::{LustreCallout, LustreMechanism};
use crate::ctx::request::{Callout, Level, Mechanism};
use crate::event::{Cause, Failure, Stage};
use crate::key::Consumer;
use crate::negotiate::messages::{Credentials, Limits, Names, Request, Target};
use crate::negotiate::nid_host::HostLookup;

/// One negotiation. What the front has accepted is accepted again.
#[derive(Debug)]
pub(super) enum Order {
    /// A program's.
    Program(Callout),
    /// Lustre's.
    Lustre(LustreCallout),
}

impl Order {
    /// Reads it from the words.
    ///
    /// # Errors
    /// `BadRequest`, for a mechanism too that is not offered.
    pub(super) fn of(invocation: &Invocation) -> Result<Self, Failure> {
        let bad = |what: &str| Failure::new(Stage::Authorise, Cause::BadRequest, what);
        let text = std::str::from_utf8(&invocation.callout).map_err(|_| bad("callout"))?;
        match invocation.consumer() {
            Consumer::Program => text.parse().map(Self::Program).map_err(|_| bad("callout")),
            Consumer::Kernel => {
                let callout: LustreCallout = text.parse().map_err(|_| bad("callout"))?;
                match callout.mechanism {
                    LustreMechanism::Krb5 => Ok(Self::Lustre(callout)),
                    LustreMechanism::Gssnull => Err(bad("mechanism gssnull is not supported")),
                    LustreMechanism::Sk => Err(bad("mechanism sk is not supported")),
                }
            }
        }
    }

    /// Whose context: uid and group. A setuid program's key is root's, its context the user's.
    pub(super) fn owner(&self, invocation: &Invocation) -> (u32, u32) {
        match self {
            Self::Program(_) => (invocation.uid, invocation.gid),
            Self::Lustre(callout) => (callout.uid, callout.gid),
        }
    }

    /// Whose credentials are asked for.
    pub(super) fn credentials(&self, invocation: &Invocation, config: &Config) -> Credentials {
        match self {
            Self::Lustre(callout) if callout.roles.any() => {
                let settings = config.machine_settings(&callout.target);
                let (realm, principal) = settings.map_or((None, None), |own| (own.realm, own.principal));
                // The rule's is the host's.
                let of_rule = invocation.realm.as_deref().filter(|_| config.within().is_none());
                let known = !callout.myself.is_any() && callout.myself.raw() != 0;
                Credentials::Machines {
                    roles: callout.roles,
                    realm: of_rule.or(realm).map(str::to_owned),
                    principal: principal.map(str::to_owned),
                    myself: known.then(|| HostLookup::new(callout.myself, &config.lustre)),
                }
            }
            _ => Credentials::Users,
        }
    }

    /// The keytab, where one may be needed.
    pub(super) fn keytab<'c>(&self, config: &'c Config) -> Option<&'c Path> {
        match self {
            Self::Lustre(callout) if callout.roles.any() => {
                config.machine_settings(&callout.target).map(|own| own.keytab)
            }
            _ => None,
        }
    }

    /// What the worker is told.
    pub(super) fn request(&self, config: &Config, credentials: Credentials, names: Names) -> Request {
        let timeouts = &config.timeouts;
        let (target, level) = match self {
            Self::Program(callout) => {
                let (service, channel) = (callout.service.clone(), callout.channel.clone());
                let canonicalize = config.kerberos.canonicalize;
                (Target::Rpc { service, channel, canonicalize }, callout.level)
            }
            Self::Lustre(callout) => {
                let peer = HostLookup::new(callout.peer, &config.lustre);
                let target = Target::Lustre { server: callout.server, peer, name: callout.target.clone() };
                (target, callout.level.unwrap_or(Level::Privacy))
            }
        };
        // How long one of its RPCs may take the kernel knows better.
        let round = match &target {
            Target::Rpc { .. } => timeouts.round.0,
            Target::Lustre { .. } => timeouts.deadline.0,
        };
        Request {
            mechanism: Mechanism::Krb5,
            target,
            credentials,
            level,
            enctypes: config.kerberos.enctypes.clone(),
            renew: config.kerberos.renew,
            limits: Limits { kdc: timeouts.kdc.0, connect: timeouts.connect.0, round },
            names,
        }
    }
}
