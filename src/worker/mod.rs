//! The program `lgss_negotiate`: negotiates one context as an ordinary user and reports it to the monitor.
//!
//! The launcher starts it and has set ids, groups, capabilities, limits, no_new_privs, network namespace and session
//! keyring. argv has no arguments. Descriptors 3 and 4 are the pipes from and to the monitor, 5 is the list of
//! credential sources, and those that are files follow from 6 on. The environment holds KRB5_CONFIG at most. Invariants: the request is not begun before
//! [`Unprivileged`] is proved and the sandbox is closed; the last message is the report, and there is exactly one.
#![forbid(unsafe_code)]

mod channels;
mod early_names;
mod exit_status;
mod faults;
mod machine;
mod negotiation;
mod outcome;
mod renewing;
mod required_principal;
mod sandbox;
#[cfg(feature = "test-programs")]
pub(crate) mod sandbox_trial;
mod self_test;
mod shared_keys;
mod task;
mod users;
mod watch;

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Instant;

use crate::creds::source_list::{self, ListError, SOURCE_LIST_LIMIT, SourceEntry};
use crate::identity::unprivileged::Unprivileged;
use crate::negotiate::messages::{Failed, REQUEST_TIME, Request, WorkerEnd};
use crate::negotiate::renewing::RENEW_WORD;
use crate::selftest::trial::{BUILD_VERSION, WORKER, WORKER_WORD};
use crate::sys::{inherited, process};
use early_names::EarlyNames;
use exit_status::{MISUSED, NOT_REPORTED, REPORTED};
use faults::{unusable, with_krb5_conf};
use watch::Watch;

/// Runs the program. The exit status is for a person at a terminal; the monitor goes by the message alone.
pub fn run() -> ExitCode {
    process::keep_one_heap();
    if let Some(answered) = answer_by_hand() {
        return answered;
    }
    match WorkerInvocation::take() {
        Some(invocation) => {
            let status = if serve(invocation).is_some() { REPORTED } else { NOT_REPORTED };
            // Not exit(): an abandoned renewal may still be inside a library that has exit handlers.
            process::end(status.into())
        }
        None => {
            let _ = writeln!(
                std::io::stderr(),
                "lgss_negotiate is started by lgss_keyring, not by hand; try --help"
            );
            ExitCode::from(MISUSED)
        }
    }
}

const WORKER_HELP: &str = "\
lgss_negotiate: the worker of lgss_keyring and lgss_agent, which start it; see lgss_negotiate(8)

  --version    what this is
  --self-test  what it finds here, as JSON; lgss config check reads that
  --renew      renews a ticket that a user's lgss_agent hands over
  --help       this text";

/// Answers a command line. The launcher gives no arguments, an agent one.
fn answer_by_hand() -> Option<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (first, rest) = words.split_first()?;
    let text = match first.as_str() {
        WORKER_WORD => return Some(self_test::run(rest)),
        word if RENEW_WORD.to_str() == Ok(word) && rest.is_empty() => return Some(renewing::run()),
        "--version" | "-V" if rest.is_empty() => format!("{WORKER} (lgss) {BUILD_VERSION}"),
        "--help" | "-h" if rest.is_empty() => WORKER_HELP.to_owned(),
        _ => return None,
    };
    let told = writeln!(std::io::stdout(), "{text}");
    Some(ExitCode::from(if told.is_ok() { REPORTED } else { NOT_REPORTED }))
}

/// Everything that the launcher hands over.
struct WorkerInvocation {
    sources: Result<Vec<SourceEntry>, ListError>,
    link: WorkerEnd,
}

impl WorkerInvocation {
    fn take() -> Option<Self> {
        let link = WorkerEnd::over(inherited::monitor_pipes().ok()?);
        let mut list = Vec::new();
        inherited::source_list().ok()?.take(SOURCE_LIST_LIMIT as u64).read_to_end(&mut list).ok()?;
        Some(Self { sources: source_list::decode(&list), link })
    }
}

/// Serves the one request. `None` if nothing could be reported.
fn serve(WorkerInvocation { sources, mut link }: WorkerInvocation) -> Option<()> {
    let ready = Unprivileged::prove()
        .map_err(|error| unusable(&error))
        .and_then(|proof| sandbox::close(&proof).map(|()| proof))
        .and_then(|proof| Ok((proof, sources.map_err(|error| unusable(&error))?)));
    let (proof, sources) = match ready {
        Ok(ready) => ready,
        Err(failure) => return link.send_failed(&Failed::without_stages(failure)).ok(),
    };
    // The monitor writes it before it starts us. Without a request there is no monitor, and nobody to report to.
    let request = link.receive_request(Instant::now() + REQUEST_TIME).ok()?;
    let names = EarlyNames::of(&request);
    match sandbox::enter(&request, &sources) {
        Ok(()) => answer(proof, sources, &request, &names, link),
        Err(failure) => link.send_failed(&Failed::without_stages(failure)).ok(),
    }
}

fn answer(
    proof: Unprivileged,
    sources: Vec<SourceEntry>,
    request: &Request,
    names: &EarlyNames,
    link: WorkerEnd,
) -> Option<()> {
    let watch = Watch::over(link, Instant::now() + request.limits.total, request.trail).ok()?;
    match negotiation::negotiate(proof, sources, request, names, &watch) {
        Ok(outcome) => watch.report_established(&outcome),
        Err(failure) => watch.report_failed(with_krb5_conf(failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::creds::source_list::CONTRACT;
    use crate::event::{Cause, Stage};

    #[test]
    fn a_launcher_of_another_contract_is_refused_whatever_it_sends() {
        let other = CONTRACT + 1;
        for sources in ["[]", r#"[{"what":"is new"}]"#, "null"] {
            let list = format!(r#"{{"contract":{other},"sources":{sources},"more":1}}"#);
            let refused = unusable(&source_list::decode(list.as_bytes()).unwrap_err());
            let expected = format!(
                "the programs are of different versions: contract {other} with a worker of {CONTRACT}"
            );
            assert_eq!(
                (refused.stage, refused.cause, refused.detail),
                (Stage::Launch, Cause::Setup, expected)
            );
        }
    }
}
