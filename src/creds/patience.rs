//! Calls of the library that may get no answer, and how long they may take.

use std::time::Duration;

use super::ticket::CacheNames;
use crate::event::{Cause, Failure};
use crate::gss::krb5::Library;
use crate::gss::status::Krb5Error;
use crate::sys::answer;
use crate::sys::lending::Late;
use crate::time::tenths;

/// How long the kernel may take to link a keyring.
const KERNEL_LIMIT: Duration = Duration::from_secs(2);
/// The share of the time for name services and KDCs that a daemon gets to list its caches or to read one: long enough
/// for a daemon that is just starting, as after a boot, and short enough to leave time for other caches if it never
/// answers.
const DAEMON_SHARE: u32 = 4;
/// The least and the most of that.
const DAEMON_LIMITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// Who keeps a cache and may not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    /// A daemon that keeps caches.
    Daemon,
    /// The kernel: to reach these caches the library links keyrings, for which there is one lock (rule S21).
    Kernel,
}

/// How long to wait for each keeper, and who has not answered and is not asked again.
#[derive(Debug)]
pub(super) struct Patience {
    silent: Vec<Keeper>,
    with_daemons: Duration,
}

impl Keeper {
    /// The keeper of a cache, if it has one.
    pub(super) fn of(cache: &CacheNames) -> Option<Self> {
        let is_of = |starts: &[&str]| starts.iter().any(|start| cache.library.starts_with(start));
        if is_of(&["KCM:"]) {
            Some(Self::Daemon)
        } else if is_of(&["KEYRING:user:", "KEYRING:persistent:"]) {
            Some(Self::Kernel)
        } else {
            None
        }
    }
}

impl Patience {
    /// For a request that has `limit` for name services and KDCs.
    pub(super) fn within(limit: Duration) -> Self {
        let [least, most] = DAEMON_LIMITS;
        Self { silent: Vec::new(), with_daemons: (limit / DAEMON_SHARE).clamp(least, most) }
    }

    /// The failure of a cache whose keeper has not answered.
    pub(super) fn silent(&self, keeper: Keeper, name: &CacheNames) -> Failure {
        match keeper {
            Keeper::Daemon => {
                let limit = tenths(self.with_daemons);
                let detail = format!(
                    "the daemon that keeps it has not answered within {limit} (if it has just been started, ask again)"
                );
                name.failure(Cause::BadCache, &detail)
            }
            Keeper::Kernel => name.failure(Cause::BadCache, &Late::Unanswered.to_string()),
        }
    }

    /// The answer, if it comes in time.
    pub(super) fn ask<T: Send + 'static>(
        &mut self,
        keeper: Keeper,
        library: &Library,
        question: impl FnOnce(&Library) -> Result<T, Krb5Error> + Send + 'static,
    ) -> Option<Result<T, Krb5Error>> {
        if self.silent.contains(&keeper) {
            return None;
        }
        let configuration = library.configuration();
        let ask = move || Library::open_by(configuration).and_then(|library| question(&library));
        let limit = if keeper == Keeper::Daemon { self.with_daemons } else { KERNEL_LIMIT };
        let answer = answer::within(limit, ask).ok();
        self.silent.extend(answer.is_none().then_some(keeper));
        answer
    }
}
