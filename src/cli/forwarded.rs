//! Answers of operations that take rights, for people.

use std::io;

use super::exit::Exit;
use crate::event::one_line;
use crate::provider::Undone;
use crate::provider::contexts::UserAnswer;
use crate::terminal::Terminal;

/// The rows of all users. Reports whose are missing.
pub(super) fn all_rows<T>(
    answers: Vec<UserAnswer<T>>,
    terminal: &mut Terminal<'_>,
) -> io::Result<(Vec<T>, Exit)> {
    let (mut all, mut exit) = (Vec::new(), Exit::Ok);
    for UserAnswer { uid, rows } in answers {
        match rows {
            Ok(rows) => all.extend(rows),
            Err(error) => {
                writeln!(terminal.err, "lgss: contexts of uid {uid}: {}", one_line(&error))?;
                exit = Exit::Incomplete;
            }
        }
    }
    Ok((all, exit))
}

/// Says that something was refused, and what to do.
pub(super) fn refused(what: &str, refusal: &Undone, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    writeln!(terminal.err, "lgss: {what}: {}", one_line(&refusal.cause))?;
    if let Some(remedy) = &refusal.remedy {
        writeln!(terminal.err, "  try:    {}", one_line(remedy))?;
    }
    Ok(Exit::Unreadable)
}
