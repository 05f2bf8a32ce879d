//! The stages of one negotiation in order: credentials, KDC, connect, negotiate.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::channels::{Afterwards, RelayedChannel, WatchedChannel};
use super::early_names::EarlyNames;
use super::machine::machine_account;
use super::outcome::{KerberosOutcome, WorkerOutcome};
use super::sandbox;
use super::shared_keys;
use super::task::WorkerTask;
use super::users::{self, ServiceTicket, UserAccount};
use super::watch::Watch;
use crate::creds::machine::{Basis, MachineAccount};
use crate::creds::source_list::SourceEntry;
use crate::creds::ticket::{ClientAccount, service_principal};
use crate::ctx::request::{Mechanism, RpcChannel, Service};
use crate::event::{Cause, Failure, Stage};
use crate::gss::ticket::Ticket;
use crate::gss::trace;
use crate::identity::unprivileged::Unprivileged;
use crate::negotiate::channel::rpc::{RpcTokenClient, call::Program};
use crate::negotiate::channel::{Channel, ChannelError};
use crate::negotiate::drive::{DriveError, Negotiated, drive};
use crate::negotiate::mech::krb5::{Krb5, Krb5Keys};
use crate::negotiate::messages::{Credentials, Ready, Request, Target};
use crate::onc_rpc::tcp::{self, ConnectError};
use crate::sys::name_service::{self, NameServiceError};

/// Serves the request. Takes the proof that this process has no rights.
pub(super) fn negotiate(
    _proof: Unprivileged,
    sources: Vec<SourceEntry>,
    request: &Request,
    names: &EarlyNames,
    watch: &Watch,
) -> Result<WorkerOutcome, Failure> {
    let deadline = Instant::now() + request.limits.kdc;
    let task = WorkerTask { request, deadline, names, watch };
    let service = || service(task);
    let (holder, ServiceTicket { ticket, renewal }, service) = match &request.credentials {
        Credentials::Users => {
            let (account, got, service) = users::choose(sources, service, task)?;
            (Holder::User(account), got, service)
        }
        Credentials::Machines { .. } => {
            sandbox::confine_names(request.names)?;
            let machine = machine_account(&sources, task)?;
            let service = service()?;
            watch.enter_kdc(&machine.to_string(), &service, deadline);
            let server = service_principal(machine.account().library(), &service)?;
            let ticket = machine.account().ticket(&server, &request.enctypes)?;
            (Holder::Machine(machine), ServiceTicket { ticket, renewal: None }, service)
        }
        &Credentials::SharedKeys { roles, myself } => {
            sandbox::leave_networks().map_err(|error| sandbox::broken("sockets", error))?;
            return shared_keys::negotiate(&sources, roles, myself, task).map(WorkerOutcome::SharedKey);
        }
    };
    let account = holder.account();
    holder.share(watch, &ticket);
    let outcome = match establish(&ticket, after_first(&ticket, request), task) {
        Ok(negotiated) => Ok(KerberosOutcome::of(negotiated, account, &ticket)),
        Err(refusal) if refusal.asks_for_new_ticket && ticket.cached() => {
            let deadline = Instant::now() + request.limits.kdc;
            watch.enter_kdc(&account.to_string(), &service, deadline);
            let outcome = establish_again(account, &ticket, refusal, WorkerTask { deadline, ..task });
            // The next request must not start with the old ticket.
            outcome.is_ok().then(|| holder.share(watch, &ticket));
            outcome
        }
        Err(refusal) => Err(refusal.failure),
    };
    outcome.map(|outcome| match &renewal {
        Some(renewal) => WorkerOutcome::Kerberos(outcome.with_remark(renewal)),
        None => WorkerOutcome::Kerberos(outcome),
    })
}

/// Whose tickets are used.
enum Holder {
    User(UserAccount),
    Machine(MachineAccount),
}

impl Holder {
    fn account(&self) -> &ClientAccount {
        match self {
            Self::User(user) => user.account(),
            Self::Machine(machine) => machine.account(),
        }
    }

    /// Shares the machine's new tickets with later requests. Root's default cache is left as it is. Failure to share is no
    /// failure of the request.
    fn share(&self, watch: &Watch, service: &Ticket) {
        if let Self::Machine(machine) = self
            && machine.basis() != Basis::DefaultCache
            && let Ok(new) = machine.update()
        {
            let good_until = machine.good_until();
            let service_until = Some(service.end().min(good_until));
            let _ = watch.send_ready(Ready { good_until, service_until }, new.as_ref());
        }
    }
}

/// The server's name: given by the program, or found by Lustre's network identifier.
fn service(WorkerTask { request, deadline, names, watch }: WorkerTask<'_>) -> Result<Service, Failure> {
    match &request.target {
        Target::Rpc { service, .. } => Ok(service.clone()),
        Target::Lustre { server, peer, .. } => {
            let silent = format!("host name of {}: no answer in time", peer.nid);
            watch.enter(deadline, Failure::new(Stage::Resolve, Cause::UnnamedNid, silent));
            let host = names.host(peer, deadline)?;
            let name = format!("{}@{host}", server.service());
            name.parse().map_err(|_| {
                let detail = format!("host name of {}: {name} is no service", peer.nid);
                Failure::new(Stage::Resolve, Cause::UnnamedNid, detail)
            })
        }
    }
}

/// The second and last attempt, after a refusal of the cached ticket. Anybody who can answer in the server's place can send
/// such a refusal, so the cache is changed only once the server has accepted the new ticket.
fn establish_again(
    account: &ClientAccount,
    old: &Ticket,
    EstablishRefusal { failure, .. }: EstablishRefusal,
    task: WorkerTask<'_>,
) -> Result<KerberosOutcome, Failure> {
    let also = |what: String| {
        let detail = format_args!("{}; {what}", failure.detail);
        Failure::new(failure.stage, failure.cause, detail).with_gss_major(failure.gss_major)
    };
    let new =
        account.another_ticket(old).map_err(|why| also(format!("and no new ticket: {}", why.detail)))?;
    // The cache is still to be changed.
    match establish(&new, Afterwards::AnotherTicket, task) {
        Ok(negotiated) => {
            let replacement = account.replace(old, &new);
            Ok(KerberosOutcome::of(negotiated, account, &new).with_remark(&replacement))
        }
        Err(EstablishRefusal { failure: second, asks_for_new_ticket: false }) => Err(second),
        Err(_) => Err(also("the same with a new ticket".to_owned())),
    }
}

/// A failed attempt with one ticket.
struct EstablishRefusal {
    failure: Failure,
    asks_for_new_ticket: bool,
}

impl From<Failure> for EstablishRefusal {
    fn from(failure: Failure) -> Self {
        Self { failure, asks_for_new_ticket: false }
    }
}

/// What may follow the answers to the first attempt.
fn after_first(ticket: &Ticket, request: &Request) -> Afterwards {
    match &request.target {
        _ if ticket.cached() => Afterwards::AnotherTicket,
        Target::Lustre { .. } => Afterwards::AnotherExchange(request.sandbox),
        Target::Rpc { .. } => Afterwards::Nothing(request.sandbox),
    }
}

/// Establishes a context with this ticket, over our own connection or the kernel's.
fn establish(
    ticket: &Ticket,
    afterwards: Afterwards,
    task: WorkerTask<'_>,
) -> Result<Negotiated<Krb5Keys>, EstablishRefusal> {
    let WorkerTask { request, deadline: resolved_by, watch, .. } = task;
    let server = ticket.answering();
    let limit = request.limits.round;
    let (negotiated, peer) = match &request.target {
        Target::Rpc { channel, .. } => {
            let stream = connect(channel, resolved_by, request.limits.connect, watch)?;
            let address = stream.peer_addr().map_or_else(|_| channel.host.clone(), |a| a.to_string());
            let peer = format!("{server} at {address}");
            let program = Program { number: channel.program, version: channel.version };
            let client = RpcTokenClient::new(stream, program, limit);
            (exchange(ticket, afterwards, client, &peer, task), peer)
        }
        Target::Lustre { name, .. } => {
            let peer = format!("{server} by {name}");
            let negotiated = match exchange(ticket, afterwards, RelayedChannel { watch }, &peer, task) {
                // One more exchange from the start, since sending the same token again would be a replay.
                Err(DriveError::Channel(ChannelError::Unanswered)) => {
                    exchange(ticket, afterwards, RelayedChannel { watch }, &peer, task)
                }
                first => first,
            };
            (negotiated, peer)
        }
    };
    let negotiated = negotiated.map_err(|error| EstablishRefusal {
        failure: error.failure(&peer),
        asks_for_new_ticket: error.asks_for_new_ticket(),
    })?;
    let (enctype, allowed) = (negotiated.keys.base_key.enctype(), &request.enctypes);
    if !allowed.allows(enctype) {
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
    let addresses = addresses(server, resolved_by, watch)?;
    let failed = |error: ConnectError| {
        let cause = match error {
            ConnectError::UnknownHost { .. } => Cause::UnknownHost,
            ConnectError::Down(_) => Cause::ServerDown,
            ConnectError::Silent { .. } => Cause::ServerSilent,
        };
        Failure::new(Stage::Connect, cause, error)
    };
    let listed: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    trace::note(format_args!("connects to {}", listed.join(", ")));
    let silent = format!("{}: no connection in time", listed.join(", "));
    watch.enter(Instant::now() + limit, Failure::new(Stage::Connect, Cause::ServerSilent, silent));
    tcp::connect(&addresses, limit).map_err(failed)
}

/// Resolves the server's name.
fn addresses(server: &RpcChannel, deadline: Instant, watch: &Watch) -> Result<Vec<SocketAddr>, Failure> {
    let host = &server.host;
    let silent = format!("name {host}: the name service does not answer");
    watch.enter(deadline, Failure::new(Stage::Resolve, Cause::NameServiceSilent, silent));
    trace::note(format_args!("looks up {host}"));
    let found = name_service::addresses(host).map_err(|error| {
        let cause = match error {
            NameServiceError::NotFound => Cause::UnknownHost,
            NameServiceError::Silent => Cause::NameServiceSilent,
            NameServiceError::Other(_) => Cause::UnknownHost,
        };
        Failure::new(Stage::Resolve, cause, format_args!("name {host}{error}"))
    })?;
    Ok(found.into_iter().take(tcp::ADDRESS_LIMIT).map(|address| (address, server.port).into()).collect())
}

fn exchange(
    ticket: &Ticket,
    afterwards: Afterwards,
    inner: impl Channel,
    peer: &str,
    WorkerTask { request, watch, .. }: WorkerTask<'_>,
) -> Result<Negotiated<Krb5Keys>, DriveError> {
    let mut channel = WatchedChannel { inner, limit: request.limits.round, peer, watch, afterwards };
    channel.begin_round();
    let Mechanism::Krb5 = request.mechanism;
    let mechanism = Krb5::new(ticket, request.level).map_err(DriveError::Start)?;
    drive(mechanism, &mut channel)
}
