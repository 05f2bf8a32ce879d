//! `lgss flush`: ends contexts, so that the next request of each negotiates anew.
//!
//! Invariant: only keys of contexts are touched, of the caller or of the users that the command line names.

use std::io;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::arguments::FlushArgs;
use super::contexts;
use super::every_user::{self, UserAnswer};
use super::exit::Exit;
use super::machine_tickets::{self, Mode};
use super::report::{ContextState, KeyPlace, KeyReport};
use super::values::KeyArgument;
use super::words;
use crate::ctx::OsError;
use crate::ctx::client;
use crate::ctx::payload::user::State;
use crate::ctx::request::{ANEW_PAUSE, NO_PAUSE};
use crate::ctx::visible::{self, Visible};
use crate::event::{Cause, Reason, one_line};
use crate::terminal::{Terminal, results};

const _: () = assert!(ANEW_PAUSE.as_secs() == 1, "the text below says once a second");

const UNCLEAR: &str = "\
lgss: flush what? One of:
  lgss flush KEY                  the context in this key, by its number in lgss list
  lgss flush --service NAME@HOST  the contexts with this service, such as nfs@srv.example.com
  lgss flush --all                all your contexts; as root, every user's
  lgss flush --machine            the tickets that this machine's requests share, not contexts
  With --dry-run it only says what it would do.";

/// Result for one context.
#[derive(Debug, Serialize, Deserialize)]
struct Flushed {
    serial: i32,
    key: String,
    owner: u32,
    service: String,
    description: String,
    /// Its state before.
    state: Option<ContextState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere: Option<KeyPlace>,
    outcome: FlushOutcome,
    /// Why it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FlushOutcome {
    /// It has ended.
    Ended,
    /// It would be ended without --dry-run.
    WouldEnd,
    /// It could not be ended.
    Kept,
}

pub(super) fn run(flush: &FlushArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    if flush.machine {
        if !geteuid().is_root() {
            writeln!(terminal.err, "lgss: only root can drop this machine's tickets")?;
            let trial = if flush.dry_run { " --dry-run" } else { "" };
            writeln!(terminal.err, "  try:    sudo lgss flush --machine{trial}")?;
            return Ok(Exit::Incomplete);
        }
        let mode = if flush.dry_run { Mode::DryRun } else { Mode::Drop };
        return machine_tickets::drop_all(mode, terminal);
    }
    if flush.keys.is_empty() && flush.service.is_none() && !flush.all {
        writeln!(terminal.err, "{UNCLEAR}")?;
        return Ok(Exit::Usage);
    }
    let exit = if flush.keys.is_empty() { flush_all(flush, terminal) } else { flush_keys(flush, terminal) };
    // Root's requests have no pause.
    if !flush.dry_run && !geteuid().is_root() {
        end_pause(terminal)?;
    }
    exit
}

/// Limit for the upcall's answer; it has little to do.
const PAUSE_LIMIT: Duration = Duration::from_secs(5);
/// When the upcall accepts the next such request, with a margin.
const ASK_AGAIN_AFTER: Duration = ANEW_PAUSE.saturating_add(Duration::from_millis(50));

/// Ends the caller's pause after many failures, so that its next requests are tried. Without an upcall, or with an
/// older one, there is nothing to report.
fn end_pause(terminal: &mut Terminal<'_>) -> io::Result<()> {
    let ask = || match client::end_pause(PAUSE_LIMIT) {
        Ok(State::Failed(no_context)) => no_context.reason,
        _ => None,
    };
    let is = |reason: &Reason, cause| Cause::of_word(&reason.cause) == Some(cause);
    let mut answer = ask();
    if answer.as_ref().is_some_and(|reason| is(reason, Cause::Paused)) {
        // The last failure is less than a second old.
        thread::sleep(ASK_AGAIN_AFTER);
        answer = ask();
    }
    match answer {
        Some(reason) if is(&reason, Cause::Unpaused) && reason.detail != NO_PAUSE => {
            writeln!(terminal.err, "lgss: {}", one_line(&reason.detail))
        }
        Some(reason) if is(&reason, Cause::Paused) => {
            writeln!(terminal.err, "lgss: your requests are still paused: {}", one_line(&reason.detail))?;
            writeln!(terminal.err, "  try:    lgss flush --all once more; a pause can be ended once a second")
        }
        _ => Ok(()),
    }
}

/// Ends all contexts, or those with one service.
fn flush_all(flush: &FlushArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let mut done = flush_own(flush);
    let mut exit = Exit::Ok;
    if flush.all {
        for UserAnswer { uid, rows } in every_user::ask(|| flush_own(flush))? {
            match rows {
                Ok(rows) => done.extend(rows),
                Err(error) => {
                    writeln!(terminal.err, "lgss: contexts of uid {uid}: {error}")?;
                    exit = Exit::Incomplete;
                }
            }
        }
    }
    print(&done, flush, terminal)?;
    Ok(if is_complete(&done) { exit } else { Exit::Incomplete })
}

/// Ends the contexts in these keys; root looks for the keys that it does not see among all users'.
fn flush_keys(flush: &FlushArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    contexts::reach_user_keyring();
    let mut done = end_named(&flush.keys, flush);
    if missing(&flush.keys, &done).next().is_some() {
        let of_others = every_user::ask(|| end_named(&flush.keys, flush))?;
        done.extend(of_others.into_iter().filter_map(|answer| answer.rows.ok()).flatten());
    }
    print(&done, flush, terminal)?;
    let mut exit = if is_complete(&done) { Exit::Ok } else { Exit::Incomplete };
    for key in missing(&flush.keys, &done) {
        writeln!(terminal.err, "lgss: key {} is not that of a context that you see", words::key(key.serial))?;
        if let Some(otherwise) = key.otherwise {
            writeln!(
                terminal.err,
                "  if these are the digits of a log line, write {:#010x}",
                otherwise.raw()
            )?;
        }
        exit = Exit::Unreadable;
    }
    Ok(exit)
}

fn end_named(keys: &[KeyArgument], flush: &FlushArgs) -> Vec<Flushed> {
    let contexts = visible::contexts();
    let named = |context: &&Visible| keys.iter().any(|key| key.serial == context.key.serial());
    contexts.iter().filter(named).map(|context| end(context, flush)).collect()
}

fn missing<'a>(keys: &'a [KeyArgument], done: &[Flushed]) -> impl Iterator<Item = &'a KeyArgument> {
    let found: Vec<i32> = done.iter().map(|flushed| flushed.serial).collect();
    keys.iter().filter(move |key| !found.contains(&key.serial.raw()))
}

fn is_complete(done: &[Flushed]) -> bool {
    done.iter().all(|flushed| flushed.outcome != FlushOutcome::Kept)
}

fn print(done: &[Flushed], flush: &FlushArgs, terminal: &mut Terminal<'_>) -> io::Result<()> {
    if flush.json { results::json(&done, terminal.out) } else { text(done, flush, terminal) }
}

fn flush_own(flush: &FlushArgs) -> Vec<Flushed> {
    contexts::reach_user_keyring();
    let contexts = visible::contexts();
    contexts.iter().filter(|context| is_selected(context, flush)).map(|context| end(context, flush)).collect()
}

/// Root's `--all` reaches all owners; otherwise only the caller's own contexts are meant.
fn is_selected(context: &Visible, flush: &FlushArgs) -> bool {
    let own = context.owner == geteuid().as_raw() || (flush.all && geteuid().is_root());
    own && flush.service.as_ref().is_none_or(|service| *service == context.description.service)
}

fn end(context: &Visible, flush: &FlushArgs) -> Flushed {
    let serial = context.key.serial();
    let report = KeyReport::of_visible(context);
    let (state, elsewhere) = report.map_or((None, None), |report| (report.state, report.elsewhere));
    let ended = match (flush.dry_run, context.can_be_ended()) {
        (false, _) => context.end(),
        (true, true) => Ok(()),
        (true, false) => Err(OsError(Errno::EACCES)),
    };
    let (outcome, error) = match ended {
        Ok(()) if flush.dry_run => (FlushOutcome::WouldEnd, None),
        Ok(()) => (FlushOutcome::Ended, None),
        Err(OsError(errno)) => (FlushOutcome::Kept, Some(reason(errno, elsewhere))),
    };
    Flushed {
        serial: serial.raw(),
        key: serial.to_string(),
        owner: context.owner,
        service: context.description.service.to_string(),
        description: context.description.to_string(),
        state,
        elsewhere,
        outcome,
        error,
    }
}

fn reason(errno: Errno, elsewhere: Option<KeyPlace>) -> String {
    match errno {
        Errno::EACCES if elsewhere == Some(KeyPlace::EndedSession) => {
            "EACCES: its session has ended and no keyring holds it; the kernel will remove it, and no request finds it".to_owned()
        }
        Errno::EACCES => {
            "EACCES: only its possessor may, a process whose session keyring leads to the key".to_owned()
        }
        other => format!("{other:?}: {}", other.desc()),
    }
}

fn text(done: &[Flushed], flush: &FlushArgs, terminal: &mut Terminal<'_>) -> io::Result<()> {
    let (yes, not, participle) = if flush.dry_run {
        ("would end", "would not end", "would be ended")
    } else {
        ("ended", "not ended", "ended")
    };
    for Flushed { serial, key, owner, service, state, elsewhere, outcome, error, .. } in done {
        let state = state.map_or(elsewhere.map_or("unknown", KeyPlace::words), ContextState::word);
        let context = format!("key {serial} ({key}), uid {owner}, {service}, {state}");
        if *outcome == FlushOutcome::Kept {
            writeln!(terminal.err, "lgss: {not}: {context}")?;
            writeln!(terminal.err, "  {}", error.as_deref().unwrap_or("no reason given"))?;
        } else {
            writeln!(terminal.out, "{yes}: {context}")?;
        }
    }
    let kept = done.iter().filter(|flushed| flushed.outcome == FlushOutcome::Kept).count();
    let ended = done.len() - kept;
    let others = if kept == 0 { String::new() } else { format!(", {kept} not") };
    writeln!(terminal.out, "{ended} context{} {participle}{others}", if ended == 1 { "" } else { "s" })
}
