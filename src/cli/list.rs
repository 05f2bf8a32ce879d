//! `lgss list`: the contexts that the caller can see.

use std::io;

use super::Terminal;
use super::arguments::List;
use super::every_user::{self, Answer};
use super::exit::Exit;
use super::report::{ContextState, Report};
use super::words;
use crate::ctx::visible;
use crate::event::one_line;
use crate::sys::keyctl;

pub(super) fn run(list: &List, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    if list.new_session {
        keyctl::join_anonymous_session()?;
    }
    possess_more();
    let mut reports: Vec<Report> = visible::contexts().iter().filter_map(Report::of_visible).collect();
    let mut exit = Exit::Ok;
    if list.all {
        for Answer { uid, rows } in every_user::ask(&["list".to_owned()])? {
            match rows {
                Ok(rows) => reports.extend(rows.into_iter().map(|row| of_user(uid, row))),
                Err(error) => {
                    writeln!(terminal.err, "lgss: contexts of uid {uid}: {error}")?;
                    exit = Exit::Incomplete;
                }
            }
        }
        reports.sort_by_key(|report| report.serial);
        reports.dedup_by_key(|report| report.serial);
    }
    if list.json {
        words::json(&reports, terminal.out)?;
    } else if reports.is_empty() {
        writeln!(terminal.err, "lgss: you see no contexts")?;
    } else {
        let rows: Vec<_> = reports.iter().map(row).collect();
        words::table(["KEY", "OWNER", "STATE", "LEFT", "SERVICE"], &rows, terminal.out)?;
    }
    Ok(exit)
}

/// The state of contexts in the user keyring can be read whatever the session leads to. If it cannot be had, less is
/// seen.
pub(super) fn possess_more() {
    let _ = visible::possess_user_keyring();
}

/// A row that a process of the user's wrote: whatever it says, it is that user's, and goes to a terminal.
fn of_user(uid: u32, mut row: Report) -> Report {
    row.key = format!("{:08x}", row.serial);
    if let Some(label) = &mut row.label {
        label.owner = uid;
        label.description = one_line(&label.description);
        label.service = label.service.as_deref().map(one_line);
        label.key_type = one_line(&label.key_type);
    }
    if let Some(failure) = &mut row.failure {
        failure.errno = one_line(&failure.errno);
    }
    row
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
    description.splitn(3, ':').nth(2).unwrap_or(report.service()).to_owned()
}

/// One word, and the error of a failure.
pub(super) fn state(report: &Report) -> String {
    match (report.state, &report.failure) {
        (Some(ContextState::Failed), Some(failure)) => format!("failed: {}", failure.errno),
        (Some(state), _) => state.word().to_owned(),
        (None, _) => "unknown".to_owned(),
    }
}
