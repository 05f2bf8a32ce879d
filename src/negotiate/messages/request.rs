//! What the monitor tells the worker to do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Canonicalize, Enctypes};
use crate::ctx::lustre::{Roles, ServerKind};
use crate::ctx::request::{Level, Mechanism, RpcChannel, Service};
use crate::negotiate::nid_host::HostLookup;

/// What the worker is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// How to authenticate.
    pub mechanism: Mechanism,
    /// To whom, and over what.
    pub target: Target,
    /// As whom.
    pub credentials: Credentials,
    /// The only principal that a user's may be of; `None`: whatever is chosen.
    pub principal: Option<String>,
    /// Protection to ask for.
    pub level: Level,
    /// Encryption types that the context may have.
    pub enctypes: Enctypes,
    /// A user's ticket-granting ticket is renewed when less than half of its life is left.
    pub renew: bool,
    /// Limits of the phases.
    pub limits: PhaseLimits,
    /// Where names of hosts come from.
    pub names: HostNames,
    /// Whether the report is to tell what was tried.
    pub trail: Trail,
    /// The owner has a pause: only credentials that have not failed before it are worth a try.
    pub paused: Option<Paused>,
}

/// A pause after failures in a row (rule S8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paused {
    /// Credentials that have failed, as [`super::Failed::tried`] has them.
    pub tried: Vec<u64>,
    /// What the request fails with if there are no others.
    pub detail: String,
}

/// What a worker tells of its way, beyond the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trail {
    /// Nothing.
    Untold,
    /// Caches read, names looked up, addresses of KDCs and servers, for whoever hunts a fault.
    Told,
}

/// Who is asked for names of hosts (rule S23).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HostNames {
    /// Whom the host's nsswitch.conf names, daemons with a local socket included.
    AsTheHost,
    /// The host's files, and DNS servers in the requester's network; nobody by a local socket.
    FilesAndDns,
}

/// The other side of the negotiation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Target {
    /// A service that the worker connects to.
    Rpc {
        /// Its name.
        service: Service,
        /// Where it listens.
        channel: RpcChannel,
        /// Whether the name service may name it otherwise.
        canonicalize: Canonicalize,
    },
    /// A Lustre server, which the kernel is connected to: tokens go by way of the monitor.
    Lustre {
        /// Kind of the server, which is the first part of its name.
        server: ServerKind,
        /// What leads to its host's name.
        peer: HostLookup,
        /// Name of the target, for people.
        name: String,
    },
}

/// Whose credentials are to be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Credentials {
    /// A user's: the best that it has.
    Users,
    /// This machine's.
    Machines {
        /// In which capacities it asks.
        roles: Roles,
        /// Its realm; `None` for the default one of krb5.conf.
        realm: Option<String>,
        /// The only principal that it may be as a client's root.
        principal: Option<String>,
        /// What leads to its host name; `None` for its own name.
        myself: Option<HostLookup>,
    },
}

/// Time that each phase may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhaseLimits {
    /// Name resolution and KDC together.
    pub kdc: Duration,
    /// Connecting to the server.
    pub connect: Duration,
    /// One round of tokens with the server.
    pub round: Duration,
    /// Everything.
    pub total: Duration,
}
