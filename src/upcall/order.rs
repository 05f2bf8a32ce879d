//! The request, read once from the words of the upcall: what is wanted, and what follows from its kind.
//!
//! The front reads it as soon as there is a monitor; the monitor takes it from the memory that they share.

use std::path::Path;

use super::invocation::Invocation;
use super::refusal::{malformed, refused};
use super::times::WorkerTime;
use crate::config::{Config, LogLevel};
use crate::ctx::lustre::{LustreCallout, LustreDescription, LustreMechanism};
use crate::ctx::request::{Callout, Description, Mechanism};
use crate::event::Failure;
use crate::key::Consumer;
use crate::negotiate::messages::{Credentials, HostNames, Request, StageLimits, Target, Trail};
use crate::negotiate::nid_host::HostLookup;

/// A request for one negotiation.
#[derive(Debug)]
pub(super) enum Order {
    /// A `user` key: for a program.
    Program {
        /// What the context is for.
        callout: Callout,
        /// The key's name.
        description: Description,
    },
    /// An `lgssc` key: for Lustre in the kernel, or for a program that claims to be Lustre.
    Lustre(LustreCallout),
}

/// Words that are no valid request.
#[derive(Debug)]
pub(super) struct Garbled {
    /// Why.
    pub(super) failure: Failure,
    /// The target, if that much can be read.
    pub(super) target: Option<String>,
}

impl Order {
    /// Reads it from the words.
    ///
    /// # Errors
    /// Refused (rule S3), or malformed.
    pub(super) fn read(invocation: &Invocation) -> Result<Self, Garbled> {
        parse(invocation).map_err(|failure| Garbled { failure, target: readable_target(invocation) })
    }

    /// The target, as the log names it.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Program { description, .. } => programs_target(description),
            Self::Lustre(callout) => callout.to_string(),
        }
    }

    /// The context's owner: uid and gid. For Lustre in a setuid program, the key is root's and the context the user's.
    pub(super) fn owner(&self, invocation: &Invocation) -> (u32, u32) {
        match self {
            Self::Program { .. } => (invocation.uid, invocation.gid),
            Self::Lustre(callout) => (callout.uid, callout.gid),
        }
    }

    /// Whose credentials are asked for; `None` if none are needed.
    pub(super) fn credentials(&self, invocation: &Invocation, config: &Config) -> Option<Credentials> {
        Some(match self {
            Self::Lustre(LustreCallout { mechanism: LustreMechanism::Gssnull, .. }) => return None,
            Self::Lustre(callout) if callout.mechanism == LustreMechanism::Sk => {
                Credentials::SharedKeys { roles: callout.roles, myself: callout.myself.raw() }
            }
            Self::Lustre(callout) if callout.roles.any() => {
                let settings = config.machine_settings(&callout.target);
                let (realm, principal) = settings.map_or((None, None), |own| (own.realm, own.principal));
                // The rule's realm is for the host alone.
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
        })
    }

    /// The callout of a program.
    pub(super) fn program(&self) -> Option<&Callout> {
        match self {
            Self::Program { callout, .. } => Some(callout),
            Self::Lustre(_) => None,
        }
    }

    /// Lustre's callout.
    pub(super) fn lustre(&self) -> Option<&LustreCallout> {
        match self {
            Self::Lustre(callout) => Some(callout),
            Self::Program { .. } => None,
        }
    }

    /// Lustre's callout, if it is for a user's Kerberos tickets.
    pub(super) fn tickets_of_a_user(&self) -> Option<&LustreCallout> {
        self.lustre().filter(|callout| callout.mechanism == LustreMechanism::Krb5 && !callout.roles.any())
    }

    /// Lustre's callout, if it is for the machine.
    pub(super) fn machine_callout(&self) -> Option<&LustreCallout> {
        self.lustre().filter(|callout| callout.roles.any())
    }

    /// The keytab, if machine credentials are asked for.
    pub(super) fn keytab<'c>(&self, config: &'c Config) -> Option<&'c Path> {
        self.machine_callout()
            .and_then(|callout| config.machine_settings(&callout.target))
            .map(|own| own.keytab)
    }

    /// The message for the worker.
    pub(super) fn request(
        &self,
        config: &Config,
        credentials: Credentials,
        names: HostNames,
        time: WorkerTime,
    ) -> Request {
        let timeouts = &config.timeouts;
        let (target, level) = match self {
            Self::Program { callout, .. } => {
                let (service, channel) = (callout.service.clone(), callout.channel.clone());
                let canonicalize = config.kerberos.canonicalize;
                (Target::Rpc { service, channel, canonicalize }, callout.level)
            }
            Self::Lustre(callout) => {
                let peer = HostLookup::new(callout.peer, &config.lustre);
                let target = Target::Lustre { server: callout.server, peer, name: callout.target.clone() };
                (target, callout.wanted_level())
            }
        };
        // The kernel itself bounds its RPCs.
        let round = match &target {
            Target::Rpc { .. } => timeouts.round.0,
            Target::Lustre { .. } => timeouts.deadline.0,
        };
        let principal = match self {
            Self::Program { callout, .. } => callout.principal.as_ref().map(ToString::to_string),
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
            limits: StageLimits { kdc: time.kdc, connect: timeouts.connect.0, round, total: time.total },
            names,
            sandbox: config.worker_sandbox,
            trail: if config.log.level == LogLevel::Debug { Trail::Told } else { Trail::Untold },
            paused: None,
        }
    }
}

fn parse(invocation: &Invocation) -> Result<Order, Failure> {
    let (description, callout) = (text(&invocation.description)?, text(&invocation.callout)?);
    match invocation.key_type.as_slice() {
        b"user" => Ok(Order::Program {
            callout: callout.parse().map_err(malformed)?,
            description: description.parse().map_err(malformed)?,
        }),
        b"lgssc" => {
            let callout: LustreCallout = callout.parse().map_err(malformed)?;
            let description: LustreDescription = description.parse().map_err(malformed)?;
            description.agrees_with(&callout).map_err(|error| refused(format_args!("S3: {error}")))?;
            Ok(Order::Lustre(callout))
        }
        _ => Err(refused("S3: keys of this type are not served")),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(bytes).map_err(|_| malformed("callout or description is not UTF-8"))
}

/// The target of words that are no valid request as a whole.
fn readable_target(invocation: &Invocation) -> Option<String> {
    match invocation.consumer {
        Consumer::Program => {
            String::from_utf8_lossy(&invocation.description).parse().ok().as_ref().map(programs_target)
        }
        Consumer::Kernel => {
            let callout = String::from_utf8_lossy(&invocation.callout).parse::<LustreCallout>();
            callout.ok().map(|callout| callout.to_string())
        }
    }
}

fn programs_target(description: &Description) -> String {
    format!("krb5 {}", description.service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctx::lustre::Roles;
    use crate::event::Cause;
    use std::ffi::OsString;
    use std::time::Duration;

    const USER: &str = "4:krb5:2001:2002::-:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff:0x0:557:";
    const MACHINE: &str = "4:krb5:0:0:r:i:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff:0x0:1:";
    const CALLOUT: &str = "lgss1;svc=nfs@h;chan=rpc:h:1,2,3";

    fn invocation(key_type: &str, description: &str, callout: &str) -> Invocation {
        let words = ["create", "77", key_type, description, callout, "1000", "100", "0", "0", "5"];
        Invocation::parse(words.into_iter().map(OsString::from)).unwrap()
    }

    fn read(key_type: &str, description: &str, callout: &str) -> Result<Order, Garbled> {
        Order::read(&invocation(key_type, description, callout))
    }

    #[test]
    fn lgssc_keys_must_be_named_as_the_callout_says() {
        let named = |description| read("lgssc", description, USER);
        assert!(matches!(named("2001@4").unwrap(), Order::Lustre(callout) if callout.pid == 557));
        assert!(named("2001@5").unwrap_err().failure.detail.starts_with("S3"));
        assert_eq!(named("lgss:1000:nfs@h").unwrap_err().failure.cause, Cause::BadRequest);
    }

    #[test]
    fn keys_of_other_types_are_refused_and_what_is_no_text_is_malformed() {
        let refused = read("keyring", "lgss:1000:nfs@h", CALLOUT).unwrap_err();
        assert_eq!((refused.failure.cause, refused.target.as_deref()), (Cause::Refused, Some("krb5 nfs@h")));
        let words = invocation("user", "lgss:1000:nfs@h", "");
        let garbled = Order::read(&Invocation { callout: vec![0xff], ..words }).unwrap_err();
        assert_eq!(garbled.failure.cause, Cause::BadRequest);
    }

    #[test]
    fn the_log_names_the_target_of_words_that_can_be_read_in_part() {
        let target = |key_type, description, callout| match read(key_type, description, callout) {
            Ok(order) => Some(order.target()),
            Err(garbled) => garbled.target,
        };
        let programs = Some("krb5 nfs@h".to_owned());
        assert_eq!(target("user", "lgss:1000:nfs@h", CALLOUT), programs);
        assert_eq!(target("user", "lgss:1000:nfs@h", "nonsense"), programs);
        assert_eq!(target("user", "nonsense", CALLOUT), None);
        let lustres = target("lgssc", "2001@4", USER);
        assert!(lustres.as_ref().is_some_and(|target| target.contains("lustre-MDT0000")), "{lustres:?}");
        assert_eq!(target("lgssc", "2001@5", USER), lustres);
        assert_eq!(target("lgssc", "2001@4", "nonsense"), None);
    }

    #[test]
    fn a_programs_context_is_whose_key_it_is_and_lustres_whom_it_names() {
        let owner = |key_type, description, callout| {
            let words = invocation(key_type, description, callout);
            Order::read(&words).unwrap().owner(&words)
        };
        assert_eq!(owner("user", "lgss:1000:nfs@h", CALLOUT), (1000, 100));
        assert_eq!(owner("lgssc", "2001@4", USER), (2001, 2002));
    }

    #[test]
    fn only_requests_for_the_machine_ask_for_its_credentials_and_its_keytab() {
        let config = Config::default();
        for (key_type, description, callout, is_machines) in [
            ("user", "lgss:1000:nfs@h", CALLOUT, false),
            ("lgssc", "2001@4", USER, false),
            ("lgssc", "0@4", MACHINE, true),
        ] {
            let words = invocation(key_type, description, callout);
            let order = Order::read(&words).unwrap();
            let machines = matches!(order.credentials(&words, &config), Some(Credentials::Machines { .. }));
            assert_eq!(
                (order.machine_callout().is_some(), machines),
                (is_machines, is_machines),
                "{callout}"
            );
            assert!(is_machines || order.keytab(&config).is_none(), "{callout}");
        }
    }

    #[test]
    fn the_rules_realm_is_for_the_machine_and_goes_before_that_of_the_settings() {
        let words = Invocation { realm: Some("RULE".to_owned()), ..invocation("lgssc", "0@4", MACHINE) };
        let order = Order::read(&words).unwrap();
        let Some(Credentials::Machines { realm, .. }) = order.credentials(&words, &Config::default()) else {
            panic!("of a user");
        };
        assert_eq!(realm.as_deref(), Some("RULE"));
    }

    #[test]
    fn what_the_worker_is_told_is_what_was_asked_for() {
        let config = Config::default();
        let time = WorkerTime { kdc: Duration::from_secs(3), total: Duration::from_secs(7) };
        let request = |key_type, description, callout| {
            let order = read(key_type, description, callout).unwrap();
            order.request(&config, Credentials::Users, HostNames::AsTheHost, time)
        };
        let programs = request("user", "lgss:1000:nfs@h", CALLOUT);
        assert!(matches!(programs.target, Target::Rpc { .. }));
        assert_eq!((programs.limits.kdc, programs.limits.total), (time.kdc, time.total));
        assert_eq!(programs.limits.round, config.timeouts.round.0);
        let lustres = request("lgssc", "2001@4", USER);
        assert!(matches!(&lustres.target, Target::Lustre { name, .. } if name == "lustre-MDT0000-mdc-ff"));
        assert_eq!(lustres.limits.round, config.timeouts.deadline.0);
        assert_eq!(lustres.principal, None);
    }

    #[test]
    fn each_mechanism_has_credentials_of_its_own() {
        let credentials = |key_type, description, callout: String| {
            let words = invocation(key_type, description, &callout);
            Order::read(&words).unwrap().credentials(&words, &Config::default())
        };
        assert_eq!(credentials("lgssc", "0@4", MACHINE.replace("krb5", "gssnull")), None);
        for (description, callout, root) in [("0@4", MACHINE, true), ("2001@4", USER, false)] {
            let roles = Roles { root, mdt: false, ost: false };
            let callout = callout.replace("krb5", "sk").replace("0x0", "0x20000c0a84d02");
            let expected = Credentials::SharedKeys { roles, myself: 0x2_0000_c0a8_4d02 };
            assert_eq!(credentials("lgssc", description, callout), Some(expected));
        }
    }
}
