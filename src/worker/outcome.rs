//! A negotiated context, with its principal if it has one, for the report.
//!
//! The negotiation makes it, the watch sends it.

use std::fmt::Display;

use crate::class::Private;
use crate::creds::ticket::ClientAccount;
use crate::crypto::mic::KeyOrigin;
use crate::gss::ticket::Ticket;
use crate::negotiate::drive::Negotiated;
use crate::negotiate::mech::krb5::Krb5Keys;
use crate::negotiate::mech::sk::SkKeys;
use crate::negotiate::messages::{Considered, Established, SharedKeyEstablished, Timing};
use crate::secret::Secret;

/// A context, by mechanism.
pub(super) enum WorkerOutcome {
    /// Kerberos 5.
    Kerberos(KerberosOutcome),
    /// A shared key.
    SharedKey(SharedKeyOutcome),
}

/// A context and its principal.
pub(super) struct KerberosOutcome {
    negotiated: Negotiated<Krb5Keys>,
    credential: String,
    server: String,
    principal: String,
}

impl KerberosOutcome {
    /// A context made with this ticket of the account.
    pub(super) fn of(negotiated: Negotiated<Krb5Keys>, account: &ClientAccount, ticket: &Ticket) -> Self {
        Self {
            negotiated,
            credential: account.to_string(),
            server: ticket.answering(),
            principal: account.client().to_string(),
        }
    }

    /// The same with the result of a renewal or replacement.
    pub(super) fn with_remark(self, remark: &impl Display) -> Self {
        Self { credential: format!("{} ({remark})", self.credential), ..self }
    }

    /// The message's typed fields.
    pub(super) fn message(&self, considered: Considered, stages: Vec<Timing>) -> Established {
        let keys = &self.negotiated.keys;
        Established {
            enctype: keys.base_key.enctype().number(),
            acceptor_subkey: keys.key_origin == KeyOrigin::AcceptorSubkey,
            endtime: keys.endtime,
            send_sequence: Private::new(keys.send_sequence),
            lifetime: keys.lifetime.as_secs(),
            window: self.negotiated.window.count(),
            credential: self.credential.clone(),
            server: self.server.clone(),
            principal: self.principal.clone(),
            unmet: considered.wanted.as_ref().map(|wanted| format!("wanted {wanted}")),
            considered,
            stages,
            trail: Vec::new(),
        }
    }

    /// The base key.
    pub(super) fn base_key(&self) -> &Secret {
        self.negotiated.keys.base_key.secret()
    }

    /// The server's handle.
    pub(super) fn handle(&self) -> &[u8] {
        self.negotiated.handle.as_bytes()
    }
}

/// A context by a shared key.
pub(super) struct SharedKeyOutcome {
    /// Which of the keys that were handed over.
    pub(super) candidate: usize,
    /// The context's keys.
    pub(super) keys: SkKeys,
    /// What came of the keys before that one.
    pub(super) remark: Option<String>,
}

impl SharedKeyOutcome {
    /// The message's typed fields.
    pub(super) fn message(&self, stages: Vec<Timing>, trail: Vec<String>) -> SharedKeyEstablished {
        let Self { candidate, ref keys, ref remark } = *self;
        let [host_random, peer_random] = [keys.host_random, keys.peer_random].map(Private::new);
        SharedKeyEstablished { candidate, host_random, peer_random, remark: remark.clone(), stages, trail }
    }

    /// The key of the HMAC, then the encryption key.
    pub(super) fn keys(&self) -> Secret {
        let SkKeys { hmac_key, encryption_key, .. } = &self.keys;
        Secret::new([hmac_key.expose(), encryption_key.expose()].concat())
    }
}
