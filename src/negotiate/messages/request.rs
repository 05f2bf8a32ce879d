//! The monitor's request to the worker.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::class::{Private, classes};
use crate::config::{Canonicalize, Enctypes, WorkerSandbox};
use crate::ctx::lustre::{Roles, ServerKind};
use crate::ctx::request::{Level, Mechanism, RpcChannel, Service};
use crate::negotiate::nid_host::HostLookup;

/// How long the monitor may take to write the request, which fits into the pipe without a reader, and the worker to read it.
pub(crate) const REQUEST_TIME: Duration = Duration::from_secs(5);

/// The worker's task.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// How to authenticate.
    pub mechanism: Mechanism,
    /// The service, and the way to it.
    pub target: Target,
    /// Whose credentials to use.
    pub credentials: Credentials,
    /// The only principal that a user's credentials may have. `None`: any.
    pub principal: Option<String>,
    /// Protection to ask for.
    pub level: Level,
    /// Encryption types that the context may have.
    pub enctypes: Enctypes,
    /// Whether a user's ticket-granting ticket is renewed when less than half of its life is left.
    pub renew: bool,
    /// Time limits of the phases.
    pub limits: StageLimits,
    /// Where host names come from.
    pub names: HostNames,
    /// How tightly the worker confines itself.
    pub sandbox: WorkerSandbox,
    /// Whether the report lists everything that was tried.
    pub trail: Trail,
    /// The owner's pause, in which only credentials that did not fail before it are tried.
    pub paused: Option<Paused>,
}

/// A pause after failures in a row (rule S8).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paused {
    /// Credentials that failed, as in [`super::Failed::tried`].
    pub tried: Private<Vec<u64>>,
    /// The failure's detail if there are no others.
    pub detail: String,
}

/// How much a worker reports beyond its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trail {
    /// Nothing.
    Untold,
    /// Caches read, names looked up, addresses of KDCs and servers, for diagnosis.
    Told,
}

/// Where host names come from (rule S23).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HostNames {
    /// The sources in the host's nsswitch.conf, including daemons with a local socket.
    AsTheHost,
    /// The host's files and DNS servers in the requester's network; nothing by a local socket.
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
        /// Whether the name service's canonical name may replace the host.
        canonicalize: Canonicalize,
    },
    /// A Lustre server. The kernel is connected to it, so tokens go through the monitor.
    Lustre {
        /// Kind of server, the first part of its principal.
        server: ServerKind,
        /// How to find its host's name.
        peer: HostLookup,
        /// The target's name, for people.
        name: String,
    },
}

/// Whose credentials to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Credentials {
    /// The user's best ones.
    Users,
    /// A file system's shared key.
    SharedKeys {
        /// The capacities in which this machine asks; none for an ordinary user.
        roles: Roles,
        /// This machine's network identifier, as the kernel has it.
        myself: u64,
    },
    /// This machine's.
    Machines {
        /// The capacities in which it asks.
        roles: Roles,
        /// Its realm; `None` for the default one of krb5.conf.
        realm: Option<String>,
        /// The only principal that it may use as a client's root.
        principal: Option<String>,
        /// How to find its host name; `None` for its own name.
        myself: Option<HostLookup>,
    },
}

/// The time limit of each phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageLimits {
    /// Name resolution and KDC together.
    pub kdc: Duration,
    /// Connecting to the server.
    pub connect: Duration,
    /// One round of tokens with the server.
    pub round: Duration,
    /// Everything.
    pub total: Duration,
}

classes!(over_pipe Request {
    mechanism: public,
    target: fields(Target),
    credentials: fields(Credentials),
    principal: public,
    level: public,
    enctypes: public,
    renew: public,
    limits: fields(StageLimits),
    names: public,
    sandbox: public,
    trail: public,
    paused: optional(Paused),
});
classes!(over_pipe Paused { tried: private, detail: public });
classes!(Target {
    Rpc { service: public, channel: fields(RpcChannel), canonicalize: public },
    Lustre { server: public, peer: public, name: public },
});
classes!(Credentials {
    Users {},
    SharedKeys { roles: fields(Roles), myself: public },
    Machines { roles: fields(Roles), realm: public, principal: public, myself: public },
});
classes!(StageLimits { kdc: public, connect: public, round: public, total: public });
