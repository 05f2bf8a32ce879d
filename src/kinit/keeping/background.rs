//! The process in the background: how it begins.
//!
//! Invariant: whoever calls [`start`] goes on when the process has closed everything that it inherited.

use std::io::{Read, Write, pipe};
use std::os::fd::AsFd;

use daemonize::{Daemonize, Outcome};

use super::keeper::{KeptTickets, TicketKeeper, Watched};
use super::telling::{Teller, Urgency};
use crate::kinit::failure::KinitFailure;
use crate::sys::exec::close_all_but;
use crate::sys::process;
use crate::sys::signals::ChildrenAwaited;

/// What it says when it has begun.
const BEGUN: [u8; 1] = [1];

/// Starts the process, which keeps the tickets as long as `watched` lives.
///
/// # Errors
/// There is no room for another process, or it has ended at once.
pub(crate) fn start(tickets: KeptTickets<'_>, watched: Watched) -> Result<(), KinitFailure> {
    let failed = |what: &str| KinitFailure::Background(what.to_owned());
    let teller = Teller::of_our_terminal();
    let (mut begun, mut tell) = pipe().map_err(|error| failed(&error.to_string()))?;
    // The crate waits for a child of its own. With --new-session this process has a second thread, which only sleeps and holds
    // no lock; the child has one thread.
    let awaited = ChildrenAwaited::now();
    let outcome = Daemonize::new().umask(0o077).execute();
    drop(awaited);
    match outcome {
        Outcome::Parent(Ok(_)) => {
            // To its end, which comes when the process has closed it.
            drop(tell);
            let mut said = Vec::new();
            match begun.read_to_end(&mut said) {
                Ok(_) if said == BEGUN => Ok(()),
                _ => Err(failed("it has ended at once")),
            }
        }
        Outcome::Parent(Err(error)) => Err(failed(&error.to_string())),
        Outcome::Child(started) => {
            // Of both ends, this is the other's.
            drop(begun);
            process::reset_inherited();
            let alone = started.map_err(|error| error.to_string()).and_then(|_| {
                // The crate has led 0 to 2 to /dev/null.
                close_all_but(&[watched.0.as_fd(), tell.as_fd()]).map_err(|errno| errno.desc().to_owned())
            });
            if let Err(error) = alone {
                teller.tell(Urgency::Warning, &format!("tickets are not renewed: {error}"));
                process::end(1);
            }
            // If the other has gone, there is still something to be renewed.
            let _ = tell.write_all(&BEGUN);
            drop(tell);
            TicketKeeper::new(tickets, watched, teller).keep();
            // Not exit(): the streams and the library are those of the process that goes on.
            process::end(0)
        }
    }
}
