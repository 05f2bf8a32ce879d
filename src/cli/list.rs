//! `lgss list`: the contexts that the caller can see.

use std::io;

use super::arguments::ListArgs;
use super::exit::Exit;
use super::forwarded::{all_rows, refused};
use super::whose::Whose;
use super::words;
use crate::ctx::rings::{self, Session};
use crate::provider::contexts::report::KeyReport;
use crate::provider::contexts::seen::{reports, reports_of_user};
use crate::provider::contexts::{ListContexts, Owners, others};
use crate::provider::{Delegated, perform};
use crate::terminal::{Terminal, results};
use crate::text::quoted;
use crate::time::Span;

pub(super) fn run(list: &ListArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    report_foreign_session(terminal)?;
    let (mut all, exit) = match list.user.as_deref() {
        Some(user) => match of_user(user, terminal)? {
            Ok(found) => found,
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
fn of_user(user: &str, terminal: &mut Terminal<'_>) -> io::Result<Result<(Vec<KeyReport>, Exit), Exit>> {
    let whose = match Whose::of(user) {
        Ok(whose) => whose,
        Err(why) => {
            writeln!(terminal.err, "lgss: {why}")?;
            return Ok(Err(Exit::Unreadable));
        }
    };
    if whose.is_caller() {
        return Ok(Ok((reports_of_user(), Exit::Ok)));
    }
    let owners = Owners::One(whose.uid());
    match perform(Delegated::of_command(ListContexts { owners })) {
        Ok(answers) => {
            writeln!(terminal.err, "{CONTEXTS_UNSEEN}")?;
            let (reports, exit) = all_rows(answers, terminal)?;
            Ok(if exit == Exit::Ok { Ok((reports, exit)) } else { Err(exit) })
        }
        Err(refusal) => refused(&format!("contexts of {owners}"), &refusal, terminal).map(Err),
    }
}

/// All contexts that the caller may see; for root and for its helper's group those of all users.
fn of_all(terminal: &mut Terminal<'_>) -> io::Result<(Vec<KeyReport>, Exit)> {
    let mut all = reports();
    match perform(Delegated::of_command(ListContexts { owners: Owners::All })) {
        Ok(answers) => {
            writeln!(terminal.err, "{CONTEXTS_UNSEEN}")?;
            let (others, exit) = all_rows(answers, terminal)?;
            all.extend(others);
            Ok((all, exit))
        }
        Err(refusal) => {
            let others = match others() {
                0 => "other users' contexts".to_owned(),
                count => format!("contexts that {count} other users may have"),
            };
            refused(&format!("not shown: {others}"), &refusal, terminal)?;
            Ok((all, Exit::Ok))
        }
    }
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
