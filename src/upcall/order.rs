//! What the monitor has been left to do: the words of the upcall parsed once more, and what follows from their kind.

use std::path::Path;
use std::time::Duration;

use super::claim::Invocation;
use crate::config::{Config, Level as LogLevel};
use crate::ctx::lustre::{LustreCallout, LustreMechanism};
use crate::ctx::request::{Callout, Level, Mechanism};
use crate::event::{Cause, Failure, Stage};
use crate::key::Consumer;
use crate::negotiate::messages::{Credentials, Limits, Names, Request, Target, Trail};
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
    /// `BadRequest`; `Mechanism` for one that is not served.
    pub(super) fn of(invocation: &Invocation) -> Result<Self, Failure> {
        let bad = |what: &str| Failure::new(Stage::Authorise, Cause::BadRequest, what);
        let text = std::str::from_utf8(&invocation.callout).map_err(|_| bad("callout"))?;
        match invocation.consumer() {
            Consumer::Program => text.parse().map(Self::Program).map_err(|_| bad("callout")),
            Consumer::Kernel => {
                let callout: LustreCallout = text.parse().map_err(|_| bad("callout"))?;
                served_mechanism(&callout).map(|()| Self::Lustre(callout))
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

    /// Lustre's words, if it is Lustre's.
    pub(super) fn lustre(&self) -> Option<&LustreCallout> {
        match self {
            Self::Lustre(callout) => Some(callout),
            Self::Program(_) => None,
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

    /// What the worker is told, with so much time for name service and KDC, and for everything.
    pub(super) fn request(
        &self,
        config: &Config,
        credentials: Credentials,
        names: Names,
        (kdc, total): (Duration, Duration),
    ) -> Request {
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
        let principal = match self {
            Self::Program(callout) => callout.principal.as_ref().map(ToString::to_string),
            Self::Lustre(_) => None,
        };
        Request {
            mechanism: Mechanism::Krb5,
            target,
            credentials,
            principal,
            level,
            enctypes: config.kerberos.enctypes.clone(),
            renew: config.kerberos.renew,
            limits: Limits { kdc, connect: timeouts.connect.0, round, total },
            names,
            trail: if config.log.level == LogLevel::Debug { Trail::Told } else { Trail::Untold },
            paused: None,
        }
    }
}

/// Whether Lustre's mechanism is served.
///
/// # Errors
/// `Mechanism`.
pub(super) fn served_mechanism(callout: &LustreCallout) -> Result<(), Failure> {
    let unserved = |name| {
        let detail = format_args!("mechanism {name} is not supported");
        Err(Failure::new(Stage::Authorise, Cause::Mechanism, detail))
    };
    match callout.mechanism {
        LustreMechanism::Krb5 => Ok(()),
        LustreMechanism::Gssnull => unserved("gssnull"),
        LustreMechanism::Sk => unserved("sk"),
    }
}
