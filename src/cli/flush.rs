//! `lgss flush`: ends contexts, so that the next request of each negotiates anew.
//!
//! Invariant: a key that is not that of a context is never touched; whose contexts are meant is said on the command line
//! or is the caller.

use std::io;

use nix::errno::Errno;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::Terminal;
use super::arguments::Flush;
use super::every_user::{self, Answer};
use super::exit::Exit;
use super::list;
use super::machine_tickets::{self, Mode};
use super::report::{ContextState, Report};
use super::words;
use crate::ctx::visible::{self, Visible};

const UNCLEAR: &str = "\
lgss: flush what?
  --service NAME@HOST  the contexts with this service
  --all                all contexts of yours; as root, those of every user
  --machine            the tickets of this machine, not contexts
  --dry-run            with one of these: print what would be done";

/// What became of one context.
#[derive(Debug, Serialize, Deserialize)]
struct Flushed {
    serial: i32,
    key: String,
    owner: u32,
    service: String,
    description: String,
    /// Before.
    state: Option<ContextState>,
    outcome: Outcome,
    /// Why it is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It has ended.
    Ended,
    /// It would be ended without --dry-run.
    WouldEnd,
    /// It could not be ended.
    Kept,
}

pub(super) fn run(flush: &Flush, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    if flush.machine {
        let mode = if flush.dry_run { Mode::DryRun } else { Mode::Drop };
        return machine_tickets::drop_all(mode, terminal);
    }
    if flush.service.is_none() && !flush.all {
        writeln!(terminal.err, "{UNCLEAR}")?;
        return Ok(Exit::Usage);
    }
    let mut done = flush_own(flush);
    let mut exit = Exit::Ok;
    if flush.all {
        for Answer { uid, rows } in every_user::ask(|| flush_own(flush))? {
            match rows {
                Ok(rows) => done.extend(rows),
                Err(error) => {
                    writeln!(terminal.err, "lgss: contexts of uid {uid}: {error}")?;
                    exit = Exit::Incomplete;
                }
            }
        }
    }
    if flush.json {
        words::json(&done, terminal.out)?;
    } else {
        text(&done, flush, terminal)?;
    }
    let kept = done.iter().any(|flushed| flushed.outcome == Outcome::Kept);
    Ok(if kept { Exit::Incomplete } else { exit })
}

fn flush_own(flush: &Flush) -> Vec<Flushed> {
    list::possess_more();
    let contexts = visible::contexts();
    contexts.iter().filter(|context| is_meant(context, flush)).map(|context| end(context, flush)).collect()
}

/// Root's `--all` reaches all owners; otherwise only the caller's own contexts are meant.
fn is_meant(context: &Visible, flush: &Flush) -> bool {
    let own = context.owner == geteuid().as_raw() || (flush.all && geteuid().is_root());
    own && flush.service.as_ref().is_none_or(|service| *service == context.description.service)
}

fn end(context: &Visible, flush: &Flush) -> Flushed {
    let serial = context.key.serial();
    let state = Report::of_visible(context).and_then(|report| report.state);
    let ended = match (flush.dry_run, context.can_be_ended()) {
        (false, _) => context.end(),
        (true, true) => Ok(()),
        (true, false) => Err(Errno::EACCES),
    };
    let (outcome, error) = match ended {
        Ok(()) if flush.dry_run => (Outcome::WouldEnd, None),
        Ok(()) => (Outcome::Ended, None),
        Err(errno) => (Outcome::Kept, Some(reason(errno))),
    };
    Flushed {
        serial: serial.raw(),
        key: serial.to_string(),
        owner: context.owner,
        service: context.description.service.to_string(),
        description: context.description.to_string(),
        state,
        outcome,
        error,
    }
}

fn reason(errno: Errno) -> String {
    match errno {
        Errno::EACCES => {
            "EACCES: only its possessor may, a process whose session keyring leads to the key".to_owned()
        }
        other => format!("{other:?}: {}", other.desc()),
    }
}

fn text(done: &[Flushed], flush: &Flush, terminal: &mut Terminal<'_>) -> io::Result<()> {
    let (yes, not, participle) = if flush.dry_run {
        ("would end", "would not end", "would be ended")
    } else {
        ("ended", "not ended", "ended")
    };
    for Flushed { serial, key, owner, service, state, outcome, error, .. } in done {
        let state = state.map_or("unknown", ContextState::word);
        let context = format!("key {serial} ({key}), uid {owner}, {service}, {state}");
        if *outcome == Outcome::Kept {
            writeln!(terminal.err, "lgss: {not}: {context}")?;
            writeln!(terminal.err, "  {}", error.as_deref().unwrap_or("no reason given"))?;
        } else {
            writeln!(terminal.out, "{yes}: {context}")?;
        }
    }
    let kept = done.iter().filter(|flushed| flushed.outcome == Outcome::Kept).count();
    let ended = done.len() - kept;
    let others = if kept == 0 { String::new() } else { format!(", {kept} not") };
    writeln!(terminal.out, "{ended} context{} {participle}{others}", if ended == 1 { "" } else { "s" })
}
