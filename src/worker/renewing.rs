//! `lgss_negotiate --renew`: has a KDC renew the ticket that a user's agent has sent, and sends the new one back.
//!
//! The agent's starter starts it as the user, with the pipes from and to the agent as descriptors 3 and 4
//! (src/negotiate/renewing.rs); the environment holds KRB5_CONFIG. Invariant: it confines itself before a byte of the
//! ticket is looked at, and keeps nothing.

use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::exit_status::{MISUSED, NOT_REPORTED, REPORTED};
use super::faults::{unusable, with_krb5_conf};
use super::sandbox;
use crate::creds::renewed::renewed;
use crate::creds::ticket::CacheNames;
use crate::event::{Cause, Failure, Stage};
use crate::identity::unprivileged::Unprivileged;
use crate::negotiate::renewing::{RenewalAnswer, RenewalOrder};
use crate::secret::Secret;
use crate::sys::answer::{NoAnswer, within};
use crate::sys::duplex::Duplex;
use crate::sys::{files, inherited, process};

/// Longest order: the largest ticket that an agent can be set to take, and more.
const ORDER_LIMIT: usize = 5 * 1024 * 1024;
/// How long an agent may take to send an order, or to take an answer.
const EXCHANGE_TIME: Duration = Duration::from_secs(5);

/// Renews the ticket, and ends.
pub(super) fn run() -> ExitCode {
    let Ok(mut agent) = inherited::monitor_pipes() else {
        let _ = writeln!(
            io::stderr(),
            "lgss_negotiate --renew is started by lgss_agent, not by hand; try --help"
        );
        return ExitCode::from(MISUSED);
    };
    let answer = serve(&mut agent)
        .unwrap_or_else(|failure| Secret::new(RenewalAnswer::failure(&with_krb5_conf(failure))));
    let status = if send(&mut agent, &answer).is_ok() { REPORTED } else { NOT_REPORTED };
    // Not exit(): an abandoned renewal may still be inside a library that has exit handlers.
    process::end(status.into())
}

fn serve(agent: &mut Duplex) -> Result<Secret, Failure> {
    let proof = Unprivileged::prove_of_a_user().map_err(|error| unusable(&error))?;
    sandbox::close(&proof)?;
    let message = receive(agent).map_err(|error| unusable(&format_args!("the ticket: {error}")))?;
    let (order, cache) = RenewalOrder::read(&message).map_err(|error| unusable(&error))?;
    // Sealed memory is what the library takes for a file, and what no rule for files is needed for.
    let ticket = files::sealed_memory(cache).map_err(|errno| unusable(&errno))?;
    drop(message);
    sandbox::enter_for_renewal(order.sandbox)?;
    renew(&order, ticket)
}

fn renew(order: &RenewalOrder, ticket: OwnedFd) -> Result<Secret, Failure> {
    let library = format!("FILE:/proc/self/fd/{}", ticket.as_raw_fd());
    let names = CacheNames { library, display: order.cache.clone() };
    let silent = || {
        let seconds = order.limit.as_secs();
        Failure::new(
            Stage::Kdc,
            Cause::KdcSilent,
            format_args!("renewal of {}: no KDC has answered in {seconds} s", order.cache),
        )
    };
    match within(order.limit, move || {
        let new = renewed(names);
        drop(ticket);
        new
    }) {
        Ok(new) => new,
        Err(NoAnswer::Late) => Err(silent()),
        Err(error @ NoAnswer::NotAsked(_)) => Err(unusable(&error)),
    }
}

/// All that the agent sends, which ends with the pipe. A buffer that grows would leave the ticket behind in memory.
fn receive(agent: &mut Duplex) -> io::Result<Zeroizing<Vec<u8>>> {
    let deadline = Instant::now() + EXCHANGE_TIME;
    let mut message = Zeroizing::new(Vec::with_capacity(ORDER_LIMIT));
    let mut piece = Zeroizing::new([0; 16 * 1024]);
    loop {
        match agent.read(&mut piece[..], deadline)? {
            0 => return Ok(message),
            length if message.len() + length > ORDER_LIMIT => return Err(ErrorKind::FileTooLarge.into()),
            length => message.extend_from_slice(piece.get(..length).unwrap_or_default()),
        }
    }
}

fn send(agent: &mut Duplex, answer: &Secret) -> io::Result<()> {
    let deadline = Instant::now() + EXCHANGE_TIME;
    let mut rest = answer.expose();
    while !rest.is_empty() {
        let written = agent.write(rest, deadline)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}
