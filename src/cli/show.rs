//! `lgss show`: the context in a key.

use std::io::{self, Write};

use super::arguments::ShowArgs;
use super::exit::Exit;
use super::values::KeyArgument;
use super::words;
use crate::provider::contexts::report::{ContextReport, ContextState, FailureReport, KeyObstacle, KeyReport};
use crate::provider::contexts::seen as contexts;
use crate::terminal::person::person;
use crate::terminal::{Terminal, results};
use crate::text::{escaped, quoted};
use crate::time::{Span, date};

pub(super) fn run(show: &ShowArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    // As list does, so that both report the same.
    contexts::reach_user_keyring();
    let (report, obstacle) = KeyReport::of(show.key.serial);
    if show.json {
        results::json(&report, terminal.out)?;
    } else if report.label.is_some() || report.state.is_some() {
        text(&report, terminal.out)?;
    }
    match obstacle {
        None => Ok(Exit::Ok),
        Some(obstacle) => {
            explain(obstacle, show.key, terminal.err)?;
            Ok(Exit::Unreadable)
        }
    }
}

fn text(report: &KeyReport, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "key       {} ({})", report.serial, report.key)?;
    writeln!(out, "state     {}", report.state.map_or("unknown", describe))?;
    if let Some(label) = &report.label {
        writeln!(out, "owner     {}", person(label.owner))?;
        writeln!(out, "type      {}", escaped(&label.key_type))?;
        match &label.service {
            Some(service) => writeln!(out, "service   {service}")?,
            None => writeln!(out, "label     {}", quoted(&label.description))?,
        }
    }
    if let Some(context) = &report.context {
        context_text(context, out)?;
    }
    report.failure.iter().try_for_each(|failure| failure_text(failure, out))
}

fn describe(state: ContextState) -> &'static str {
    match state {
        ContextState::Expired => "expired (request a new context)",
        other => other.word(),
    }
}

fn context_text(context: &ContextReport, out: &mut dyn Write) -> io::Result<()> {
    if let Some(principal) = &context.principal {
        writeln!(out, "principal {principal}")?;
    }
    if let Some(unmet) = &context.unmet {
        writeln!(out, "but       {unmet}")?;
    }
    writeln!(out, "window    {}", context.window)?;
    writeln!(out, "handle    {} bytes", context.handle_length)?;
    writeln!(out, "enctype   {} ({}'s subkey)", context.enctype, context.subkey)?;
    let (left, end) = (Span(context.lifetime_left.into()), date(context.endtime));
    writeln!(out, "lifetime  {left} left, until {end}")
}

fn failure_text(failure: &FailureReport, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "failure   {}: {}", failure.errno, failure.cause)?;
    let detail = failure.in_full();
    if let Some(detail) = &detail {
        writeln!(out, "detail    {detail}")?;
    }
    if failure.gss_major != 0 {
        writeln!(out, "GSS       major status {:#010x}", failure.gss_major)?;
    }
    writeln!(out, "remedy    {}", failure.remedy)?;
    match (detail, words::where_more_is()) {
        (None, _) => writeln!(out, "reason    in {}", words::where_the_reason_is()),
        (Some(_), Some(more)) => writeln!(out, "more      in {more}"),
        (Some(_), None) => Ok(()),
    }
}

fn explain(obstacle: KeyObstacle, key: KeyArgument, err: &mut dyn Write) -> io::Result<()> {
    let name = words::key(key.serial);
    match obstacle {
        KeyObstacle::NoKey => {
            writeln!(err, "lgss: there is no key {name}, or you may not view it")?;
            if let Some(otherwise) = key.otherwise {
                writeln!(err, "  if these are the digits of a log line, write {:#010x}", otherwise.raw())?;
            }
            Ok(())
        }
        KeyObstacle::NotPossessed => {
            writeln!(err, "lgss: key {name} may not be read from here")?;
            writeln!(
                err,
                "  only its possessor may: a process whose session keyring leads to the key (keyctl show)"
            )?;
            writeln!(
                err,
                "  the owner's other sessions see no more than this; get a context for this session: lgss get"
            )
        }
        KeyObstacle::NotOwn(doubt) => {
            writeln!(err, "lgss: not reading key {name}: {doubt}")?;
            writeln!(
                err,
                "  the upcall did not make this key for you, so its contents cannot be trusted; ask as its owner"
            )
        }
        KeyObstacle::NotAContext => writeln!(err, "lgss: key {name} is not that of a context"),
    }
}
