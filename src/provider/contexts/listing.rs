//! Lists contexts.

use serde::{Deserialize, Serialize};

use super::every_user::{self, UserAnswer};
use super::owners::Owners;
use super::report::KeyReport;
use super::seen;
use crate::class::classes;
use crate::provider::operation::{Delegable, RootRights, Undone};
use crate::text::counted;

/// Lists contexts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListContexts {
    /// Whose.
    pub owners: Owners,
}

classes!(ListContexts { owners: public });

impl Delegable for ListContexts {
    const METHOD: &'static str = "list";
    type Answer = Vec<UserAnswer<KeyReport>>;

    fn act(self, rights: &RootRights) -> Result<Self::Answer, Undone> {
        every_user::ask(self.owners, rights, || seen::reports_of(self.owners))
    }

    fn words(&self) -> String {
        format!("list of {}", self.owners)
    }

    fn outcome(answer: &Self::Answer) -> String {
        let rows = answer.iter().filter_map(|user| user.rows.as_ref().ok());
        counted(rows.map(Vec::len).sum::<usize>(), "context")
    }

    fn as_root(&self) -> String {
        match self.owners {
            Owners::All => "sudo lgss list --all".to_owned(),
            Owners::One(uid) => format!("sudo lgss list --user {uid}"),
        }
    }
}
