//! `lgss list`: the contexts that the caller can see.

use std::io;

use nix::unistd::geteuid;

use super::arguments::ListArgs;
use super::contexts::{reports, reports_of_user};
use super::every_user::{self, UserAnswer};
use super::exit::Exit;
use super::report::KeyReport;
use super::whose::Whose;
use super::words;
use crate::ctx::rings::{self, Session};
use crate::terminal::{Terminal, results};
use crate::text::quoted;
use crate::time::Span;

pub(super) fn run(list: &ListArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    report_foreign_session(terminal)?;
    let (mut all, exit) = match list.user.as_deref() {
        Some(user) => match of_user(user, terminal)? {
            Ok(reports) => (reports, Exit::Ok),
            Err(exit) => return Ok(exit),
        },
        None if list.all => of_all(terminal)?,
        None => (reports(), Exit::Ok),
    };
    all.sort_by_key(|report| report.serial);
    all.dedup_by_key(|report| report.serial);
    if list.json {
        results::json(&all, terminal.out)?;
    } else if all.is_empty() {
        writeln!(terminal.err, "lgss: you see no contexts")?;
    } else {
        let rows: Vec<_> = all.iter().map(row).collect();
        results::table(["KEY", "OWNER", "STATE", "LEFT", "SERVICE"], &rows, terminal.out)?;
    }
    Ok(exit)
}

/// Reports a session keyring that is not looked into, and why.
pub(super) fn report_foreign_session(terminal: &mut Terminal<'_>) -> io::Result<()> {
    let session = rings::session();
    match session {
        Session::Own => return Ok(()),
        Session::Dead(_) => {
            writeln!(terminal.err, "lgss: {}", words::session(session))?;
            writeln!(terminal.err, "  try:    {}", words::NEW_SESSION)?;
        }
        _ => writeln!(terminal.err, "lgss: {}: its contents are ignored", words::session(session))?,
    }
    Ok(())
}

const CONTEXTS_UNSEEN: &str = "lgss: not shown: other users' contexts that are only in session keyrings, which the kernel hides from everybody else";

/// One user's contexts, or the exit status if they cannot be listed.
fn of_user(user: &str, terminal: &mut Terminal<'_>) -> io::Result<Result<Vec<KeyReport>, Exit>> {
    let whose = match Whose::of(Some(user)) {
        Ok(whose) => whose,
        Err(why) => {
            writeln!(terminal.err, "lgss: {why}")?;
            return Ok(Err(Exit::Unreadable));
        }
    };
    if whose.is_caller() {
        return Ok(Ok(reports_of_user()));
    }
    writeln!(terminal.err, "{CONTEXTS_UNSEEN}")?;
    match every_user::ask_one(whose.uid(), reports_of_user) {
        Ok(reports) => Ok(Ok(reports)),
        Err(error) => {
            writeln!(terminal.err, "lgss: contexts of uid {}: {error}", whose.uid())?;
            Ok(Err(Exit::Incomplete))
        }
    }
}

/// All contexts that the caller may see; for root those of all users.
fn of_all(terminal: &mut Terminal<'_>) -> io::Result<(Vec<KeyReport>, Exit)> {
    let (mut all, mut exit) = (reports(), Exit::Ok);
    if !geteuid().is_root() {
        let others = match every_user::others() {
            0 => "other users' contexts".to_owned(),
            count => format!("contexts that {count} other users may have"),
        };
        writeln!(terminal.err, "lgss: not shown: {others}; to see them: sudo lgss list --all")?;
        return Ok((all, exit));
    }
    writeln!(terminal.err, "{CONTEXTS_UNSEEN}")?;
    for UserAnswer { uid, rows } in every_user::ask(reports_of_user)? {
        match rows {
            Ok(rows) => all.extend(rows),
            Err(error) => {
                writeln!(terminal.err, "lgss: contexts of uid {uid}: {error}")?;
                exit = Exit::Incomplete;
            }
        }
    }
    Ok((all, exit))
}

fn row(report: &KeyReport) -> [String; 5] {
    let left = report.context.as_ref().map(|context| Span(context.lifetime_left.into()).to_string());
    [
        report.serial.to_string(),
        report.owner().map_or("?".to_owned(), |uid| uid.to_string()),
        report.state_text(),
        left.unwrap_or("-".to_owned()),
        service_and_instance(report),
    ]
}

/// The service, with the instance if there is one.
fn service_and_instance(report: &KeyReport) -> String {
    let description = report.label.as_ref().map_or("", |label| label.description.as_str());
    description.splitn(3, ':').nth(2).map_or(report.service().into(), quoted).into_owned()
}
