//! `lgss list`: the contexts that the caller can see.

use std::io;

use nix::unistd::geteuid;

use super::Terminal;
use super::arguments::List;
use super::every_user::{self, Answer};
use super::exit::Exit;
use super::report::{ContextState, Report};
use super::words;
use crate::ctx::rings::{self, Session};
use crate::ctx::visible;
use crate::text::quoted;

pub(super) fn run(list: &List, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    session_trouble(terminal)?;
    let mut all = reports();
    let mut exit = Exit::Ok;
    if list.all {
        for Answer { uid, rows } in every_user::ask(reports_of_user)? {
            match rows {
                Ok(rows) => all.extend(rows),
                Err(error) => {
                    writeln!(terminal.err, "lgss: contexts of uid {uid}: {error}")?;
                    exit = Exit::Incomplete;
                }
            }
        }
        all.sort_by_key(|report| report.serial);
        all.dedup_by_key(|report| report.serial);
    }
    if list.json {
        words::json(&all, terminal.out)?;
    } else if all.is_empty() {
        writeln!(terminal.err, "lgss: you see no contexts")?;
    } else {
        let rows: Vec<_> = all.iter().map(row).collect();
        words::table(["KEY", "OWNER", "STATE", "LEFT", "SERVICE"], &rows, terminal.out)?;
    }
    Ok(exit)
}

/// Of a session keyring that is not looked into, a word.
pub(super) fn session_trouble(terminal: &mut Terminal<'_>) -> io::Result<()> {
    let session = rings::session();
    match session {
        Session::Own => return Ok(()),
        Session::Dead(_) => {
            writeln!(terminal.err, "lgss: {}", words::session(session))?;
            writeln!(terminal.err, "  try:    {}", words::NEW_SESSION)?;
        }
        _ => writeln!(terminal.err, "lgss: {}: what is in it is left alone", words::session(session))?,
    }
    Ok(())
}

fn reports() -> Vec<Report> {
    possess_more();
    visible::contexts().iter().filter_map(Report::of_visible).collect()
}

/// His own only: he may see keys of others who let him.
fn reports_of_user() -> Vec<Report> {
    let own = Some(geteuid().as_raw());
    reports().into_iter().filter(|report| report.owner() == own).collect()
}

/// The state of contexts in the user keyring can be read whatever the session leads to. If it cannot be had, less is
/// seen.
pub(super) fn possess_more() {
    let _ = rings::possess_user_keyring();
}

fn row(report: &Report) -> [String; 5] {
    let left = report.context.as_ref().map(|context| words::span(context.lifetime_left.into()));
    [
        report.serial.to_string(),
        report.owner().map_or("?".to_owned(), |uid| uid.to_string()),
        state(report),
        left.unwrap_or("-".to_owned()),
        // With the instance, if there is one.
        instance(report),
    ]
}

fn instance(report: &Report) -> String {
    let description = report.label.as_ref().map_or("", |label| label.description.as_str());
    description.splitn(3, ':').nth(2).map_or(report.service().into(), quoted).into_owned()
}

/// One word, and the error of a failure.
pub(super) fn state(report: &Report) -> String {
    match (report.state, &report.failure) {
        (Some(ContextState::Failed), Some(failure)) => format!("failed: {}", failure.errno),
        (Some(state), _) => state.word().to_owned(),
        (None, _) => "unknown".to_owned(),
    }
}
