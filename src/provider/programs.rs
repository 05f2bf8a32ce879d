//! What `lgss` itself does, run by lgss_helper: what a user's caches are, and what is wrong with the installation.
//!
//! Both need MIT Kerberos, of which no byte is in a program with its owner's rights. So the helper executes the `lgss` that it was
//! installed with, from a path that only root can change, without environment and with words of which the caller chooses none but a
//! uid and a service: as the user whose caches it looks at, and for the installation as root.

use std::time::Duration;

use nix::unistd::{Gid, Uid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operation::{Delegable, RootRights, Undone};
use super::place::{Installed, beside};
use crate::class::classes;
use crate::ctx::request::Service;
use crate::identity::system_user::{SystemUser, group_of};
use crate::selftest::trial::{ProgramRun, TrialFault, output_of};
use crate::text::counted;

/// The option of `lgss caches` that prints what was found as lgss_helper passes it on.
pub(crate) const FOUND: &str = "--found";
/// How long the search in a user's caches may take; it gives up by itself before.
const CACHES_LIMIT: Duration = Duration::from_secs(40);
/// Most that is read of either.
const ANSWER_BYTES: usize = 1024 * 1024;
/// How long all checks may take.
const CHECK_LIMIT: Duration = Duration::from_secs(60);

/// Looks at a user's credentials.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowCaches {
    /// The user; never root.
    pub uid: u32,
    /// The service that they are ranked for.
    pub target: Option<Service>,
}

classes!(ShowCaches { uid: public, target: public });

impl Delegable for ShowCaches {
    const METHOD: &'static str = "caches";
    /// What `lgss caches --found` prints.
    type Answer = Value;

    fn act(self, _: &RootRights) -> Result<Value, Undone> {
        if self.uid == 0 || self.uid == u32::MAX {
            return Err(Undone::new("root's credentials are looked at by root only", self.as_root()));
        }
        let (uid, gid) = (Uid::from_raw(self.uid), group_of(self.uid).unwrap_or(NOGROUP));
        let target = self.target.as_ref().map(ToString::to_string);
        let mut words = vec!["caches", FOUND];
        if let Some(target) = &target {
            words.extend(["--target", target]);
        }
        let account = Some(SystemUser { uid, gid });
        answer_of(ProgramRun { account, ..of_lgss(&words, CACHES_LIMIT, ANSWER_BYTES) })
    }

    fn words(&self) -> String {
        match &self.target {
            Some(target) => format!("caches of uid {} for {target}", self.uid),
            None => format!("caches of uid {}", self.uid),
        }
    }

    fn outcome(_: &Value) -> String {
        "done".to_owned()
    }

    fn as_root(&self) -> String {
        let target = self.target.as_ref().map_or(String::new(), |target| format!(" --target {target}"));
        format!("sudo lgss caches --user {}{target}", self.uid)
    }
}

/// The group of a user whom /etc/passwd does not know: that of nobody.
const NOGROUP: Gid = Gid::from_raw(65534);

/// Checks the installation as root does.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckInstallation {}

classes!(CheckInstallation {});

impl Delegable for CheckInstallation {
    const METHOD: &'static str = "config_check";
    /// What `lgss config check --json` prints.
    type Answer = Value;

    fn act(self, _: &RootRights) -> Result<Value, Undone> {
        answer_of(of_lgss(&["config", "check", "--json"], CHECK_LIMIT, ANSWER_BYTES))
    }

    fn words(&self) -> String {
        "config check".to_owned()
    }

    fn outcome(answer: &Value) -> String {
        counted(answer.as_array().map_or(0, Vec::len), "finding")
    }

    fn as_root(&self) -> String {
        "sudo lgss config check".to_owned()
    }
}

/// A run of `lgss` with these words, as root, with no environment.
pub(super) fn of_lgss(words: &[&str], limit: Duration, most: usize) -> ProgramRun {
    let words = ["lgss"].iter().chain(words).map(|word| (*word).to_owned()).collect();
    let (program, environment) = (beside(Installed::Lgss), Vec::new());
    ProgramRun { program, words, environment, account: None, limit, most }
}

/// The JSON that the program prints.
///
/// # Errors
/// [`Undone`].
pub(super) fn answer_of(run: ProgramRun) -> Result<Value, Undone> {
    let (program, limit) = (run.program.clone(), run.limit);
    let faulty = |fault: &dyn std::fmt::Display| Undone::plain(format!("{}: {fault}", program.display()));
    let said = output_of(run).map_err(|fault| match fault {
        TrialFault::Silent => faulty(&format_args!("it does not answer within {} s", limit.as_secs())),
        fault => faulty(&fault),
    })?;
    serde_json::from_slice(&said).map_err(|_| faulty(&"its answer is no JSON"))
}
