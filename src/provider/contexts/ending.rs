//! Ends contexts, so that the next request of each negotiates anew.
//!
//! Invariant: only keys of contexts are touched, those of the calling user or of the users that were named.

use nix::errno::Errno;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::every_user::{self, UserAnswer};
use super::owners::Owners;
use super::report::{ContextState, KeyPlace, KeyReport};
use super::seen;
use crate::class::classes;
use crate::ctx::OsError;
use crate::ctx::request::Service;
use crate::ctx::visible::{self, Visible};
use crate::provider::operation::{Delegable, RootRights, Undone};
use crate::text::counted;

/// Which contexts of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Selection {
    /// All.
    All,
    /// Those with a service.
    Service(Service),
    /// Those in these keys.
    Keys(Vec<i32>),
}

/// Whether contexts are really ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Earnest {
    /// They are.
    Ending,
    /// It is only said which would be.
    DryRun,
}

/// Ends contexts of any users.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndContexts {
    /// Whose.
    pub owners: Owners,
    /// Which of theirs.
    pub selection: Selection,
    /// Whether they end.
    pub earnest: Earnest,
}

classes!(EndContexts { owners: public, selection: public, earnest: public });

impl Delegable for EndContexts {
    const METHOD: &'static str = "flush";
    type Answer = Vec<UserAnswer<Flushed>>;

    fn act(self, rights: &RootRights) -> Result<Self::Answer, Undone> {
        every_user::ask(self.owners, rights, || end_seen(self.owners, &self.selection, self.earnest))
    }

    fn words(&self) -> String {
        let what = match &self.selection {
            Selection::All => "all contexts".to_owned(),
            Selection::Service(service) => format!("contexts with {service}"),
            Selection::Keys(keys) => {
                const NAMED: usize = 10;
                let named: Vec<_> = keys.iter().take(NAMED).map(ToString::to_string).collect();
                let more = if keys.len() > NAMED { ", …" } else { "" };
                format!("{} {}{more}", counted(keys.len(), "key"), named.join(", "))
            }
        };
        let trial = if self.earnest == Earnest::DryRun { ", dry run" } else { "" };
        format!("flush of {what} of {}{trial}", self.owners)
    }

    fn outcome(answer: &Self::Answer) -> String {
        let rows = || answer.iter().filter_map(|user| user.rows.as_ref().ok()).flatten();
        let kept = rows().filter(|row| row.outcome == FlushOutcome::Kept).count();
        format!("{}, {kept} of them kept", counted(rows().count(), "context"))
    }

    fn as_root(&self) -> String {
        let owners = match self.owners {
            Owners::All => String::new(),
            Owners::One(uid) => format!(" --user {uid}"),
        };
        match &self.selection {
            Selection::All if owners.is_empty() => "sudo lgss flush --all".to_owned(),
            Selection::All => format!("sudo lgss flush{owners}"),
            Selection::Service(service) => format!("sudo lgss flush{owners} --service {service}"),
            Selection::Keys(keys) => {
                let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
                format!("sudo lgss flush {}", keys.join(" "))
            }
        }
    }
}

/// Result for one context.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Flushed {
    /// The key's number.
    pub serial: i32,
    /// As the log names it.
    pub key: String,
    /// The owner's uid.
    pub owner: u32,
    /// The service that it is with.
    pub service: String,
    /// The key's description.
    pub description: String,
    /// Its state before.
    pub state: Option<ContextState>,
    /// Where the key is, if that is why its state is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<KeyPlace>,
    /// What became of it.
    pub outcome: FlushOutcome,
    /// Why it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FlushOutcome {
    /// It has ended.
    Ended,
    /// It would be ended without --dry-run.
    WouldEnd,
    /// It could not be ended.
    Kept,
}

/// Ends those that this process sees: the caller's own, and for root who ends everybody's also what it sees of others.
pub(crate) fn end_seen(owners: Owners, selection: &Selection, earnest: Earnest) -> Vec<Flushed> {
    seen::reach_user_keyring();
    let caller = geteuid();
    let is_meant = |context: &&Visible| {
        let own = context.owner == caller.as_raw() || (owners == Owners::All && caller.is_root());
        own && selection.has(context)
    };
    visible::contexts().iter().filter(is_meant).map(|context| end(context, earnest)).collect()
}

/// Ends those of these keys that this process sees, whoever owns them.
pub(crate) fn end_named(keys: &[i32], earnest: Earnest) -> Vec<Flushed> {
    seen::reach_user_keyring();
    let named = |context: &&Visible| keys.contains(&context.key.serial().raw());
    visible::contexts().iter().filter(named).map(|context| end(context, earnest)).collect()
}

impl Selection {
    fn has(&self, context: &Visible) -> bool {
        match self {
            Self::All => true,
            Self::Service(service) => *service == context.description.service,
            Self::Keys(keys) => keys.contains(&context.key.serial().raw()),
        }
    }
}

fn end(context: &Visible, earnest: Earnest) -> Flushed {
    let serial = context.key.serial();
    let report = KeyReport::of_visible(context);
    let (state, elsewhere) = report.map_or((None, None), |report| (report.state, report.elsewhere));
    let ended = match (earnest, context.can_be_ended()) {
        (Earnest::Ending, _) => context.end(),
        (Earnest::DryRun, true) => Ok(()),
        (Earnest::DryRun, false) => Err(OsError(Errno::EACCES)),
    };
    let (outcome, error) = match ended {
        Ok(()) if earnest == Earnest::DryRun => (FlushOutcome::WouldEnd, None),
        Ok(()) => (FlushOutcome::Ended, None),
        Err(OsError(errno)) => (FlushOutcome::Kept, Some(reason(errno, elsewhere))),
    };
    Flushed {
        serial: serial.raw(),
        key: serial.to_string(),
        owner: context.owner,
        service: context.description.service.to_string(),
        description: context.description.to_string(),
        state,
        elsewhere,
        outcome,
        error,
    }
}

fn reason(errno: Errno, elsewhere: Option<KeyPlace>) -> String {
    match errno {
        Errno::EACCES if elsewhere == Some(KeyPlace::EndedSession) => {
            "EACCES: its session has ended and no keyring holds it; the kernel will remove it, and no request finds it".to_owned()
        }
        Errno::EACCES => {
            "EACCES: only its possessor may, a process whose session keyring leads to the key".to_owned()
        }
        other => format!("{other:?}: {}", other.desc()),
    }
}
