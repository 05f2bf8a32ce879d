//! The worker's code for a Lustre node, without an upcall: as the system user, it finds the host name of a network
//! identifier or the node's credentials, as one line of JSON asks. It answers with one line of JSON.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program: it stops where a test would"
)]

use lgss::private_to_lgss::config::Enctypes;
use lgss::private_to_lgss::creds::{CacheNames, service_principal};
use lgss::private_to_lgss::creds::{MachineAccount, MachineChoice, MachineRequest, Offered, Sources, choose};
use lgss::private_to_lgss::ctx::Roles;
use lgss::private_to_lgss::event::Failure;
use lgss::private_to_lgss::negotiate::{HostLookup, SystemNames};
use lgss::private_to_lgss::sandbox_trial::{SandboxTrial, confine};
use lgss::private_to_lgss::sys;
use nix::unistd::{Gid, Uid};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// The uid to take.
    uid: u32,
    /// The sandbox to enter.
    sandbox: Option<Confinement>,
    task: Task,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confinement {
    /// [`SandboxTrial::word`].
    trial: String,
    /// The monitor's request, for which a worker would enter it.
    request: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Task {
    Host { lookup: HostLookup, limit: Duration },
    Credentials(Box<Wanted>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    roles: Roles,
    realm: Option<String>,
    host: String,
    principal: Option<String>,
    /// Paths.
    default_cache: Option<String>,
    own_cache: Option<String>,
    keytab: Option<String>,
    /// Services to get tickets for.
    services: Vec<String>,
}

fn main() {
    let order: Order = serde_json::from_str(&std::env::args().nth(1).expect("an order")).expect("an order");
    // As in the launcher: root reads, and the system user gets memory files.
    let mut sealed = Vec::new();
    let sources = match &order.task {
        Task::Host { .. } => None,
        Task::Credentials(wanted) => Some(Sources {
            default_cache: seal(wanted.default_cache.as_deref(), &mut sealed),
            own_cache: seal(wanted.own_cache.as_deref(), &mut sealed),
            keytab: seal(wanted.keytab.as_deref(), &mut sealed),
        }),
    };
    sys::drop_to(Uid::from_raw(order.uid), Gid::from_raw(order.uid)).expect("drop of rights");
    if let Some(Confinement { trial, request }) = &order.sandbox {
        let trial = SandboxTrial::ALL.into_iter().find(|one| one.word() == trial).expect("a trial");
        confine(trial, &request.to_string(), &[]).expect("a sandbox");
    }
    let answer = match (order.task, sources) {
        (Task::Credentials(wanted), Some(sources)) => credentials(*wanted, &sources),
        (Task::Host { lookup, limit }, _) => {
            lookup.host(&SystemNames, Instant::now() + limit).map(|host| json!({ "host": host }))
        }
        _ => panic!("no sources"),
    };
    let answer = answer.unwrap_or_else(|failure| json!({ "failure": failure }));
    println!("{answer}");
}

fn seal(path: Option<&str>, sealed: &mut Vec<OwnedFd>) -> Offered {
    let path = path.ok_or("not given")?;
    let content = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let memory = sys::sealed_memory(&content).expect("memory");
    let library = format!("FILE:/proc/self/fd/{}", memory.as_raw_fd());
    sealed.push(memory);
    Ok(CacheNames { library, display: path.to_owned() })
}

fn credentials(wanted: Wanted, sources: &Sources) -> Result<Value, Failure> {
    let Wanted { roles, realm, host, principal, services, .. } = wanted;
    let choice: MachineChoice =
        choose(&MachineRequest { roles, realm, host: Some(host), principal }, sources)?;
    let account: MachineAccount = choice.account()?;
    let mut tickets = Vec::new();
    for service in services {
        let account = account.account();
        let server = service_principal(account.library(), &service.parse().expect("a service"))?;
        tickets.push(account.ticket(&server, &Enctypes::default())?.server());
    }
    let update = account.update()?.map(|update| update.expose().to_vec());
    Ok(json!({
        "basis": format!("{:?}", account.basis()),
        "credential": account.to_string(),
        "tickets": tickets,
        "update": update,
    }))
}
