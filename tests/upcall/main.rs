//! The upcall end to end: kernel, /sbin/request-key, lgss_keyring, lgss_negotiate, an MIT KDC and NFS-Ganesha.
//!
//! Needs root. The program runs itself as a child: the outer process is the janitor, which removes what tests leave,
//! however they end; the inner one runs the tests. Arguments are those of any `cargo test` binary.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::exit,
    reason = "tests"
)]
// A test missing in `trials!`, or a module missing in MODULES, does not build.
#![deny(dead_code)]

mod agent_clients;
mod agent_door;
mod agent_hostile;
mod agent_keyring;
mod agent_keyring_alone;
mod agent_keyring_killed;
mod agent_limits;
mod agent_renewal;
mod agent_renewal_hostile;
mod agent_sessions;
mod c_programs;
mod cache_types;
mod candidates;
mod choice;
mod clocks;
mod containers;
mod credentials;
mod crowded_places;
mod enctypes;
mod established;
mod faults;
mod file_systems;
mod floods;
mod flush;
mod forged;
mod held_caches;
mod helper;
mod helper_hostile;
mod hooks;
mod hooks_credentials;
mod hooks_hostile;
mod hostile;
mod hostile_caches;
mod hostile_keytabs;
mod hostile_names;
mod hostile_places;
mod identity;
mod inherited;
mod injected;
mod installation;
mod kdc;
mod key_gone;
mod keyring_lock;
mod kinit;
mod kinit_alone;
mod kinit_holding;
mod kinit_logins;
mod kinit_programs;
mod kinit_renewed;
mod kinit_secrets;
mod kinit_sessions;
mod krb5_conf;
mod large_tickets;
mod load;
mod local_kcm;
mod local_kcm_agent;
mod local_kcm_hostile;
mod local_kcm_managed;
mod logout;
mod many_caches;
mod marks;
mod matrix;
mod namespaces;
mod node_credentials;
mod node_keys;
mod node_names;
mod not_renewed;
mod other_networks;
mod pauses;
#[path = "../probe/plan.rs"]
mod plan;
mod plugins;
mod preference;
mod program_contexts;
mod quota;
mod ranked;
mod ranked_cli;
mod reasons;
mod renewal;
mod rpc_programs;
mod sandbox;
mod secrecy;
mod self_check;
mod server;
mod service_names;
mod session_trouble;
mod sessions;
mod setuid;
mod setup_told;
mod short;
mod silenced;
mod simultaneous;
mod single_tickets;
mod stale_ticket;
mod support;
mod told;
mod told_apart;
mod tools;
mod trust;
mod whose_context;
mod worker_file;

use std::sync::Arc;
use support::chosen::Chosen;
use support::shared::Shared;
use support::{janitor, machine};

/// The tests of a module: functions that take what all tests share.
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn trials(shared: &std::sync::Arc<crate::support::shared::Shared>) -> Vec<libtest_mimic::Trial> {
            vec![$({
                let shared = std::sync::Arc::clone(shared);
                let module = module_path!().rsplit("::").next().unwrap();
                libtest_mimic::Trial::test(concat!(stringify!($name)), move || {
                    $name(&shared);
                    Ok(())
                }).with_kind(module)
            }),*]
        }
    };
}
pub(crate) use trials;

/// Tests mostly wait.
const THREADS: usize = 6;

fn main() {
    janitor::main(run_tests);
}

/// The tests of one module.
type Trials = fn(&Arc<Shared>) -> Vec<libtest_mimic::Trial>;

/// Modules whose tests may run at the same time.
const MODULES: &[Trials] = &[
    established::trials,
    agent_clients::trials,
    agent_door::trials,
    agent_hostile::trials,
    agent_keyring::trials,
    agent_keyring_killed::trials,
    agent_limits::trials,
    agent_renewal::trials,
    agent_renewal_hostile::trials,
    agent_sessions::trials,
    credentials::trials,
    cache_types::trials,
    candidates::trials,
    choice::trials,
    pauses::trials,
    plugins::trials,
    preference::trials,
    program_contexts::trials,
    rpc_programs::trials,
    c_programs::trials,
    held_caches::trials,
    helper::trials,
    helper_hostile::trials,
    crowded_places::trials,
    told::trials,
    single_tickets::trials,
    session_trouble::trials,
    ranked::trials,
    hostile_caches::trials,
    hostile_keytabs::trials,
    hostile_names::trials,
    hostile_places::trials,
    hooks::trials,
    hooks_credentials::trials,
    hooks_hostile::trials,
    many_caches::trials,
    marks::trials,
    matrix::trials,
    logout::trials,
    sessions::trials,
    setuid::trials,
    trust::trials,
    large_tickets::trials,
    kdc::trials,
    told_apart::trials,
    krb5_conf::trials,
    local_kcm::trials,
    local_kcm_agent::trials,
    local_kcm_hostile::trials,
    local_kcm_managed::trials,
    key_gone::trials,
    kinit::trials,
    kinit_alone::trials,
    kinit_holding::trials,
    kinit_programs::trials,
    kinit_logins::trials,
    kinit_renewed::trials,
    kinit_secrets::trials,
    kinit_sessions::trials,
    clocks::trials,
    enctypes::trials,
    stale_ticket::trials,
    renewal::trials,
    not_renewed::trials,
    sandbox::trials,
    server::trials,
    forged::trials,
    identity::trials,
    inherited::trials,
    injected::trials,
    short::trials,
    quota::trials,
    secrecy::trials,
    self_check::trials,
    silenced::trials,
    simultaneous::trials,
    hostile::trials,
    faults::trials,
    floods::trials,
    file_systems::trials,
    namespaces::trials,
    containers::trials,
    node_credentials::trials,
    node_keys::trials,
    node_names::trials,
    other_networks::trials,
    service_names::trials,
    ranked_cli::trials,
    reasons::trials,
    tools::trials,
    flush::trials,
    installation::trials,
    setup_told::trials,
    whose_context::trials,
    worker_file::trials,
];

fn run_tests() -> ! {
    let mut command_line = Chosen::read();
    command_line.arguments.test_threads.get_or_insert(THREADS);
    let shared = Arc::new(Shared::default());
    let chosen = |modules: &[Trials]| {
        let all = modules.iter().flat_map(|trials| trials(&shared));
        all.filter(|trial| command_line.has(trial)).collect::<Vec<_>>()
    };
    let mut arguments = command_line.arguments.clone();
    let trials = chosen(MODULES);
    if !arguments.list {
        machine::require_all();
    }
    let together = libtest_mimic::run(&arguments, trials);
    // Tests that would disturb others run alone.
    arguments.test_threads = Some(1);
    let alone = libtest_mimic::run(
        &arguments,
        chosen(&[load::trials, keyring_lock::trials, agent_keyring_alone::trials]),
    );
    drop(shared);
    together.exit_if_failed();
    alone.exit()
}
