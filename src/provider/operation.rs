//! An operation that takes rights, the rights, and why it was not done.

use nix::unistd::getresuid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::class::{self, HasClasses, OverPipe};
use crate::secret::Secret;

/// What has JSON for the pipe: of each class what may cross it.
pub(crate) trait CrossesPipe {
    /// The JSON.
    ///
    /// # Errors
    /// Those of the serialiser.
    fn over_pipe(&self) -> serde_json::Result<Secret>;
}

impl<T> CrossesPipe for T
where
    for<'a> OverPipe<'a, T>: Serialize,
{
    fn over_pipe(&self) -> serde_json::Result<Secret> {
        class::over_pipe(self)
    }
}

/// One operation, with all that it needs to know.
pub(crate) trait Delegable: DeserializeOwned + HasClasses + CrossesPipe {
    /// Its name on the pipe.
    const METHOD: &'static str;
    /// What it finds or has done.
    type Answer: Serialize + DeserializeOwned;

    /// Does it.
    ///
    /// # Errors
    /// [`Undone`], if nothing was done at all; what failed in part is in the answer.
    fn act(self, rights: &RootRights) -> Result<Self::Answer, Undone>;

    /// The operation in words, for the log: nothing that is private or secret.
    fn words(&self) -> String;

    /// What came of it in words, for the log.
    fn outcome(answer: &Self::Answer) -> String;

    /// The command that does it as root, for people.
    fn as_root(&self) -> String;
}

/// The rights of root, which the process has, and for whom it uses them.
#[derive(Debug)]
pub(crate) struct RootRights {
    asked_by: u32,
}

impl RootRights {
    /// Those of this process, if it has them for good and for bad: as real and as effective user.
    pub(crate) fn of_process() -> Option<Self> {
        let ids = getresuid().ok()?;
        (ids.real.is_root() && ids.effective.is_root()).then_some(Self { asked_by: 0 })
    }

    /// The same, used for this user, by the kernel's word.
    pub(super) fn used_for(self, asked_by: Option<u32>) -> Self {
        Self { asked_by: asked_by.unwrap_or(self.asked_by) }
    }

    /// Uid of who asks.
    pub(crate) fn asked_by(&self) -> u32 {
        self.asked_by
    }
}

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{cause}")]
pub(crate) struct Undone {
    /// The reason.
    pub cause: String,
    /// What to do, if that is known.
    pub remedy: Option<String>,
}

impl Undone {
    /// A reason with what to do about it.
    pub(crate) fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: Some(remedy.into()) }
    }

    /// A reason that says all.
    pub(crate) fn plain(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: None }
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskedBy {
    /// From a command of this process.
    Command,
    /// From another process, by the pipe. Only [`Delegated::forwarded`] makes it.
    Pipe,
}

/// An operation that somebody wants.
#[derive(Debug)]
pub(crate) struct Delegated<O> {
    pub(super) operation: O,
    pub(super) origin: AskedBy,
    pub(super) caller: Option<u32>,
}

impl<O: Delegable> Delegated<O> {
    /// What a command of this process wants.
    pub(crate) fn of_command(operation: O) -> Self {
        Self { operation, origin: AskedBy::Command, caller: None }
    }

    /// What came by the pipe: it is never forwarded again.
    pub(super) fn forwarded(operation: O) -> Self {
        Self { operation, origin: AskedBy::Pipe, caller: None }
    }

    /// The same for this user, whom the kernel has named.
    pub(crate) fn asked_by(self, caller: u32) -> Self {
        Self { caller: Some(caller), ..self }
    }

    /// What is wanted.
    pub(crate) fn operation(&self) -> &O {
        &self.operation
    }
}
