//! Runs one of the site's hooks for an operator.
//!
//! `lgss hook run` does it, as root; lgss_helper, which reads no settings, executes the `lgss` that it was installed with. The hook itself
//! has no right of root's (src/hook).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operation::{Delegable, RootRights, Undone};
use super::programs::{answer_of, of_lgss};
use crate::class::classes;
use crate::config::HookName;
use crate::hook::NoHookResult;
use crate::selftest::trial::ProgramRun;

/// The option of `lgss hook run` that says for whom, and has it print a [`HookReply`].
pub(crate) const FOR_UID: &str = "--for-uid";
/// The variable that has the hook's name then.
pub(crate) const HOOK_NAME: &str = "LGSS_HOOK";
/// Most that is read of a run: the greatest output that settings allow, and its frame.
const HOOK_BYTES: usize = 20 * 1024 * 1024;
/// How long a run may take, with the wait for others.
const HOOK_RUN_LIMIT: Duration = Duration::from_secs(110);

/// Runs a hook.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunHook {
    /// Its name.
    pub name: HookName,
}

classes!(RunHook { name: public });

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HookReply {
    /// Its result.
    Result(Value),
    /// Others are running hooks.
    Busy,
    /// There is none, whatever the reason.
    Failed,
}

impl HookReply {
    /// The reply for a run.
    pub(crate) fn of(run: Result<Value, NoHookResult>) -> Self {
        match run {
            Ok(result) => Self::Result(result),
            Err(NoHookResult::Busy) => Self::Busy,
            Err(NoHookResult::Failed) => Self::Failed,
        }
    }

    /// The run.
    ///
    /// # Errors
    /// [`NoHookResult`].
    pub(crate) fn result(self) -> Result<Value, NoHookResult> {
        match self {
            Self::Result(result) => Ok(result),
            Self::Busy => Err(NoHookResult::Busy),
            Self::Failed => Err(NoHookResult::Failed),
        }
    }
}

impl Delegable for RunHook {
    const METHOD: &'static str = "hook";
    type Answer = HookReply;

    fn act(self, rights: &RootRights) -> Result<HookReply, Undone> {
        // Everybody can read the words of a process.
        let environment = vec![format!("{HOOK_NAME}={}", self.name).into_bytes()];
        let words = ["hook", "run", FOR_UID, &rights.asked_by().to_string()];
        // What is wrong with the hook is in the log alone, which the program writes; what keeps it from running any is no secret.
        let said = answer_of(ProgramRun { environment, ..of_lgss(&words, HOOK_RUN_LIMIT, HOOK_BYTES) })?;
        Ok(serde_json::from_value(said).unwrap_or(HookReply::Failed))
    }

    fn words(&self) -> String {
        // Its name is in the line of `lgss`, which members do not see (provider/log): it must not be guessed.
        "a hook".to_owned()
    }

    fn outcome(answer: &HookReply) -> String {
        match answer {
            HookReply::Result(_) => "done",
            HookReply::Busy => "others are running hooks",
            HookReply::Failed => "no result",
        }
        .to_owned()
    }

    fn as_root(&self) -> String {
        format!("sudo lgss hook run {}", self.name)
    }
}
