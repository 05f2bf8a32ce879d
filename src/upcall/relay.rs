//! The way of tokens to a server that the kernel is connected to, as the monitor keeps count of it.

use std::time::{Duration, Instant};

use super::exchange::{Exchanged, InitChannel};
use crate::event::Failure;
use crate::negotiate::ROUND_LIMIT;
use crate::secret::Secret;
use crate::sys::process::Process;

/// A token that the kernel gives up so soon was lost with its connection, and another may arrive. A server that has been
/// waited for is not waited for twice: the kernel asks twice for one access as it is.
const LOST_WITHIN: Duration = Duration::from_secs(5);

/// The way of tokens to a server that the kernel is connected to.
pub(super) struct Relay {
    channel: InitChannel,
    tokens: usize,
    /// A token has not been answered: the worker has been told to begin anew, and is told so once.
    silent_once: bool,
    /// Window and handle of the last answer that had a handle.
    last: Option<(u32, Vec<u8>)>,
}

impl Relay {
    pub(super) fn new(channel: InitChannel) -> Self {
        Self { channel, tokens: 0, silent_once: false, last: None }
    }

    /// Whether the worker may send one more.
    pub(super) fn has_room(&self) -> bool {
        self.tokens < ROUND_LIMIT
    }

    /// Window and handle as the server gave them last.
    pub(super) fn last(&self) -> Option<&(u32, Vec<u8>)> {
        self.last.as_ref()
    }

    /// A process of it that does not end.
    pub(super) fn into_stuck(self) -> Option<Process> {
        self.channel.into_stuck()
    }

    /// Hands a token to the server and brings its answer.
    ///
    /// # Errors
    /// [`Failure`] of the stage `Negotiate`.
    pub(super) fn exchange(
        &mut self,
        token: &Secret,
        worker: &Process,
        deadline: Instant,
    ) -> Result<Exchanged, Failure> {
        self.tokens += 1;
        let begun = Instant::now();
        let exchanged = self.channel.exchange(token.expose(), worker, deadline)?;
        let answer = match &exchanged {
            Exchanged::Answer(answer) => answer,
            Exchanged::Silence if begun.elapsed() > LOST_WITHIN => {
                return Err(self.channel.silent("no answer in time"));
            }
            Exchanged::Silence if std::mem::replace(&mut self.silent_once, true) => {
                return Err(self.channel.silent("no answer, also not to a second try"));
            }
            Exchanged::Silence | Exchanged::Unwanted => return Ok(exchanged),
        };
        if !answer.handle.is_empty() {
            self.last = Some((answer.window, answer.handle.clone()));
        } else if let Some((window, _)) = self.last.as_mut() {
            *window = answer.window;
        }
        Ok(exchanged)
    }
}
