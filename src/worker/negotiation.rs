//! The stages of one negotiation in their order: credentials, KDC, connect, negotiate.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::watch::Watch;
use crate::creds::ticket::{Account, CacheNames};
use crate::crypto::mic::KeyOrigin;
use crate::ctx::Handle;
use crate::ctx::request::{Mechanism, RpcChannel};
use crate::event::{Cause, Failure, Stage};
use crate::gss::ticket::Ticket;
use crate::identity::unprivileged::Unprivileged;
use crate::negotiate::channel::rpc::{Client, call::Program};
use crate::negotiate::channel::tcp::{self, ConnectError};
use crate::negotiate::channel::{Answer, Channel, ChannelError};
use crate::negotiate::drive::{DriveError, Negotiated, drive};
use crate::negotiate::mech::krb5::Krb5;
use crate::negotiate::messages::{Established, Request, Timing};
use crate::secret::Secret;

/// A context and whose it is.
pub(super) struct Outcome {
    negotiated: Negotiated,
    credential: String,
}

/// Does what the request asks for. Takes the proof that this process may.
pub(super) fn negotiate(
    _proof: Unprivileged,
    cache: CacheNames,
    request: &Request,
    watch: &Watch,
) -> Result<Outcome, Failure> {
    let deadline = Instant::now() + request.limits.kdc;
    watch.enter(deadline, cache.silent());
    let account = Account::find(cache)?;

    enter_kdc(&account, request, deadline, watch);
    let ticket = account.ticket(&request.service, &request.enctypes)?;
    match meet(&ticket, request, deadline, watch) {
        Ok(negotiated) => Ok(Outcome { negotiated, credential: account.to_string() }),
        Err(refusal) if refusal.asks_for_new_ticket && ticket.cached() => {
            meet_again(&account, &ticket, refusal, request, watch)
        }
        Err(refusal) => Err(refusal.failure),
    }
}

/// The second and last attempt, after a refusal of the cached ticket. Whoever answers for the server could send such a
/// refusal, so the cache is changed only when the server has accepted the new ticket.
fn meet_again(
    account: &Account,
    old: &Ticket,
    Refusal { failure, .. }: Refusal,
    request: &Request,
    watch: &Watch,
) -> Result<Outcome, Failure> {
    let also = |what: String| {
        let detail = format_args!("{}; {what}", failure.detail);
        Failure::new(failure.stage, failure.cause, detail).with_gss_major(failure.gss_major)
    };
    let deadline = Instant::now() + request.limits.kdc;
    enter_kdc(account, request, deadline, watch);
    let new =
        account.another_ticket(old).map_err(|why| also(format!("and no new ticket: {}", why.detail)))?;
    match meet(&new, request, deadline, watch) {
        Ok(negotiated) => {
            let replacement = account.replace(old, &new);
            Ok(Outcome { negotiated, credential: format!("{account} ({replacement})") })
        }
        Err(Refusal { failure: second, asks_for_new_ticket: false }) => Err(second),
        Err(_) => Err(also("the same with a new ticket".to_owned())),
    }
}

fn enter_kdc(account: &Account, request: &Request, deadline: Instant, watch: &Watch) {
    let silent =
        format!("ticket of {account} for {}: no answer of KDC or name service in time", request.service);
    watch.enter(deadline, Failure::new(Stage::Kdc, Cause::KdcSilent, silent));
}

/// A failed attempt with one ticket.
struct Refusal {
    failure: Failure,
    asks_for_new_ticket: bool,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, asks_for_new_ticket: false }
    }
}

/// A connection to the server, and a context with this ticket over it.
fn meet(
    ticket: &Ticket,
    request: &Request,
    resolved_by: Instant,
    watch: &Watch,
) -> Result<Negotiated, Refusal> {
    let stream = connect(&request.channel, resolved_by, request.limits.connect, watch)?;
    let address = stream.peer_addr().map_or_else(|_| request.channel.host.clone(), |a| a.to_string());
    // A realm left to referral shows as an empty one.
    let peer = format!("{} at {address}", ticket.server().trim_end_matches('@'));
    let negotiated = exchange(ticket, request, stream, &peer, watch).map_err(|error| Refusal {
        failure: error.failure(&peer),
        asks_for_new_ticket: error.asks_for_new_ticket(),
    })?;
    let (enctype, allowed) = (negotiated.keys.base_key.enctype(), &request.enctypes);
    if !allowed.allow(enctype) {
        let detail = format!("{peer}: the server chose {enctype}; allowed by lgss.toml: {allowed}");
        return Err(Failure::new(Stage::Negotiate, Cause::EncryptionType, detail).into());
    }
    Ok(negotiated)
}

fn connect(
    server: &RpcChannel,
    resolved_by: Instant,
    limit: Duration,
    watch: &Watch,
) -> Result<TcpStream, Failure> {
    let silent = format!("{}: the name service does not answer", server.host);
    watch.enter(resolved_by, Failure::new(Stage::Connect, Cause::UnknownHost, silent));
    let failed = |error: ConnectError| {
        let cause = match error {
            ConnectError::UnknownHost { .. } => Cause::UnknownHost,
            ConnectError::Down { .. } => Cause::ServerDown,
            ConnectError::Silent { .. } => Cause::ServerSilent,
        };
        Failure::new(Stage::Connect, cause, error)
    };
    let addresses = tcp::resolve(&server.host, server.port).map_err(failed)?;

    let silent = format!("{}: no connection in time", server.host);
    watch.enter(Instant::now() + limit, Failure::new(Stage::Connect, Cause::ServerSilent, silent));
    tcp::connect(&addresses, limit).map_err(failed)
}

fn exchange(
    ticket: &Ticket,
    request: &Request,
    stream: TcpStream,
    peer: &str,
    watch: &Watch,
) -> Result<Negotiated, DriveError> {
    let (limit, server) = (request.limits.round, &request.channel);
    let program = Program { number: server.program, version: server.version };
    let mut channel = Watched { client: Client::new(stream, program, limit), limit, peer, watch };
    channel.begin_round();
    let Mechanism::Krb5 = request.mechanism;
    let mechanism = Krb5::new(ticket, request.level).map_err(DriveError::Start)?;
    drive(mechanism, &mut channel)
}

/// A channel whose every round has its time on the watch, with what the mechanism does about the answer.
struct Watched<'a> {
    client: Client,
    limit: Duration,
    peer: &'a str,
    watch: &'a Watch,
}

impl Watched<'_> {
    fn begin_round(&self) {
        let silent = format!("{}: no answer in time", self.peer);
        let overdue = Failure::new(Stage::Negotiate, Cause::ServerSilent, silent);
        self.watch.enter(Instant::now() + self.limit, overdue);
    }
}

impl Channel for Watched<'_> {
    fn exchange(&mut self, handle: Option<&Handle>, token: &Secret) -> Result<Answer, ChannelError> {
        self.begin_round();
        self.client.exchange(handle, token)
    }
}

impl Outcome {
    /// The message's typed fields.
    pub(super) fn message(&self, stages: Vec<Timing>) -> Established {
        let keys = &self.negotiated.keys;
        Established {
            enctype: keys.base_key.enctype().number(),
            acceptor_subkey: keys.key_origin == KeyOrigin::AcceptorSubkey,
            endtime: keys.endtime,
            send_sequence: keys.send_sequence,
            lifetime: keys.lifetime.as_secs(),
            window: self.negotiated.window.count(),
            credential: self.credential.clone(),
            stages,
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
