//! The door for the programs, tests and benchmarks of this package. **Not for others**: anything here may change
//! or disappear in any release, without a change of the version number to show it.
//!
//! Called by src/bin, tests, benches and fuzz; the paths are those of the crate. Invariant: nothing is defined here, and
//! whoever uses contexts needs nothing of it.
#![forbid(unsafe_code)]

#[cfg(feature = "upcall")]
pub use crate::agent::run as agent;
pub use crate::helper::run as helper;
pub use crate::kcm::run as kcm;
pub use crate::sys::entry::{begin, entry};
pub use crate::sys::heap::Heap;
pub use crate::sys::process::end;
pub use crate::upcall::run as upcall;

#[cfg(feature = "gss")]
pub use crate::worker::run as worker;

#[cfg(feature = "tools")]
pub mod cli {
    pub use crate::cli::exit::{Exit, TABLE};
    pub use crate::cli::{programs, run};
    pub use crate::terminal::Terminal;
}

pub mod config {
    pub use crate::config::{CEILING, Config, Enctypes};
}

pub mod ctx {
    pub use crate::ctx::lustre::Roles;
    pub use crate::ctx::payload::user;
}

#[cfg(feature = "gss")]
pub mod creds {
    pub use crate::creds::machine::{
        MachineAccount, MachineChoice, MachineRequest, Offered, Sources, choose,
    };
    pub use crate::creds::ticket::{CacheNames, ClientAccount, service_principal};
    pub use crate::gss::krb5::Library;
}

pub mod door {
    pub use crate::door::{CONNECTION, DESCRIPTOR, Leaving};
}

pub mod event {
    pub use crate::event::{Cause, Failure, Reason, Stage};
}

/// Checks of decoders, for the targets in fuzz/ and for tests/corpora.rs.
#[cfg(feature = "test-programs")]
pub mod fuzz {
    pub use crate::agent::fuzz as agent;
    pub use crate::cli::fuzz as cli;
    pub use crate::config::fuzz as config;
    pub use crate::creds::fuzz as creds;
    pub use crate::gss::fuzz as gss;
    pub use crate::identity::fuzz as identity;
    pub use crate::key::fuzz as key;
    pub use crate::negotiate::fuzz as negotiate;
    pub use crate::provider::fuzz as provider;
    pub use crate::selftest::fuzz as selftest;
    pub use crate::sk_tool::fuzz as sk_tool;
    pub use crate::upcall::fuzz as upcall;

    // crypto, ctx and rpc are public: their modules, shown as a whole, would have to be public there, too.
    pub mod crypto {
        pub use crate::crypto::fuzz::{mic, wrap};
    }

    pub mod rpc {
        pub use crate::rpc::fuzz::replies;
    }

    pub mod ctx {
        pub use crate::ctx::fuzz::{
            callout, description, key_serials, lustre_callout, lustre_description, user_payload,
        };
    }
}

#[cfg(feature = "tools")]
pub mod kinit {
    pub use crate::kinit::{KinitExit, record, run};
}

#[cfg(feature = "gss")]
pub mod negotiate {
    pub use crate::negotiate::channel::rpc::{RpcTokenClient, call::Program};
    pub use crate::negotiate::drive::drive;
    pub use crate::negotiate::mech::krb5::Krb5;
    pub use crate::negotiate::nid_host::{HostLookup, SystemNames};
    pub use crate::onc_rpc::tcp;
}

#[cfg(feature = "test-programs")]
pub mod sandbox_trial {
    pub use crate::worker::sandbox_trial::{SandboxTrial, confine};
}

#[cfg(feature = "tools")]
pub mod sk_tool {
    pub use crate::sk_tool::{SkExit, record, run};
}

pub mod sys {
    pub use crate::sys::files::sealed_memory;
    pub use crate::sys::jail::drop_to;

    pub mod passing {
        pub use crate::sys::passing::{send, take};
    }

    pub mod keyctl {
        pub use crate::sys::keyctl::{
            PROCESS_KEYRING, SESSION_KEYRING, USER_KEYRING, add, clear, describe, find, invalidate,
            join_anonymous_session, link, links, read, request, revoke, set_permissions, set_timeout, unlink,
            update,
        };
    }
}
