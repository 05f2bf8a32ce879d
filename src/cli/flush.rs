//! `lgss flush`: ends contexts, so that the next request of each negotiates anew.
//!
//! Invariant: only keys of contexts are touched, of the caller or of the users that the command line names.

use std::io;
use std::thread;
use std::time::Duration;

use nix::unistd::geteuid;

use super::arguments::FlushArgs;
use super::exit::Exit;
use super::forwarded::{all_rows, refused};
use super::machine_tickets::{self, Mode};
use super::values::KeyArgument;
use super::whose::Whose;
use super::words;
use crate::ctx::client;
use crate::ctx::payload::user::State;
use crate::ctx::request::{ANEW_PAUSE, NO_PAUSE};
use crate::event::{Cause, Reason, one_line};
use crate::provider::contexts::Owners;
use crate::provider::contexts::ending::{self, Earnest, EndContexts, FlushOutcome, Flushed, Selection};
use crate::provider::contexts::report::{ContextState, KeyPlace};
use crate::provider::{Delegated, perform};
use crate::terminal::{Terminal, results};

const _: () = assert!(ANEW_PAUSE.as_secs() == 1, "the text below says once a second");

const UNCLEAR: &str = "\
lgss: flush what? One of:
  lgss flush KEY                  the context in this key, by its number in lgss list
  lgss flush --service NAME@HOST  the contexts with this service, such as nfs@srv.example.com
  lgss flush --all                all your contexts; as root, every user's
  lgss flush --user USER          a user's (root, and members of lgss_helper's group)
  lgss flush --machine            the tickets that this machine's requests share, not contexts
  With --dry-run it only says what it would do.";

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
    if flush.keys.is_empty() && flush.service.is_none() && flush.user.is_none() && !flush.all {
        writeln!(terminal.err, "{UNCLEAR}")?;
        return Ok(Exit::Usage);
    }
    let exit = if flush.keys.is_empty() { flush_all(flush, terminal) } else { flush_keys(flush, terminal) };
    // Root's requests have no pause; another user's is not ours to end.
    let is_own = flush.user.as_deref().is_none_or(|user| matches!(Whose::of(user), Ok(Whose::Caller(_))));
    if !flush.dry_run && is_own && !geteuid().is_root() {
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

/// Ends all contexts, or those with one service: the caller's, a user's, or for root everybody's.
fn flush_all(flush: &FlushArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let selection = flush.service.clone().map_or(Selection::All, Selection::Service);
    let owners = match flush.user.as_deref().map(Whose::of) {
        Some(Ok(Whose::Caller(_))) => None,
        Some(Ok(Whose::User(uid, _))) => Some(Owners::One(uid.as_raw())),
        Some(Err(why)) => {
            writeln!(terminal.err, "lgss: {why}")?;
            return Ok(Exit::Unreadable);
        }
        None => (flush.all && geteuid().is_root()).then_some(Owners::All),
    };
    let earnest = earnest(flush);
    let Some(owners) = owners else {
        let caller = Owners::One(geteuid().as_raw());
        let done = ending::end_seen(caller, &selection, earnest);
        print(&done, flush, terminal)?;
        return Ok(if is_complete(&done) { Exit::Ok } else { Exit::Incomplete });
    };
    let answers = match perform(Delegated::of_command(EndContexts { owners, selection, earnest })) {
        Ok(answers) => answers,
        Err(refusal) => return refused(&format!("contexts of {owners}"), &refusal, terminal),
    };
    let (done, exit) = all_rows(answers, terminal)?;
    print(&done, flush, terminal)?;
    Ok(if is_complete(&done) { exit } else { Exit::Incomplete })
}

fn earnest(flush: &FlushArgs) -> Earnest {
    if flush.dry_run { Earnest::DryRun } else { Earnest::Ending }
}

/// Ends the contexts in these keys; keys that the caller does not see are looked for among all users', by those who may.
fn flush_keys(flush: &FlushArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let keys: Vec<i32> = flush.keys.iter().map(|key| key.serial.raw()).collect();
    let earnest = earnest(flush);
    let mut done = ending::end_named(&keys, earnest);
    let unseen: Vec<i32> = missing(&flush.keys, &done).map(|key| key.serial.raw()).collect();
    let mut unasked = None;
    if !unseen.is_empty() {
        let (owners, selection) = (Owners::All, Selection::Keys(unseen));
        match perform(Delegated::of_command(EndContexts { owners, selection, earnest })) {
            Ok(of_others) => {
                done.extend(of_others.into_iter().filter_map(|answer| answer.rows.ok()).flatten())
            }
            Err(undone) => unasked = Some(undone),
        }
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
    if let Some(undone) = unasked {
        refused("other users' keys were not looked at", &undone, terminal)?;
    }
    Ok(exit)
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
