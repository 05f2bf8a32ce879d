//! Questions of the library's that may stay unanswered, and how long they are waited for.

use std::time::Duration;

use super::ticket::CacheNames;
use crate::event::{Cause, Failure};
use crate::gss::krb5::Library;
use crate::gss::status::Krb5Error;
use crate::sys::answer;
use crate::sys::lending::Late;

/// How long the kernel may take to link a keyring.
const KERNEL_LIMIT: Duration = Duration::from_secs(2);
/// The share of the time for name services and KDCs that a daemon may take to list its caches, or to tell of one: one
/// that is only starting, as after a boot, is waited for, and with one that never answers there is time left for what
/// is elsewhere.
const DAEMON_SHARE: u32 = 4;
/// The most and the least of that.
const DAEMON_LIMITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// Who may not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// A daemon that keeps caches.
    Daemon,
    /// The kernel: the library reaches these caches by a link of keyrings, for which there is one lock (rule S21).
    Kernel,
}

/// Who has not answered, so is not asked again.
#[derive(Debug)]
pub(super) struct Patience {
    silent: Vec<Whom>,
    with_daemons: Duration,
}

impl Whom {
    /// Who answers for a cache, if that is one of these.
    pub(super) fn keeps(cache: &CacheNames) -> Option<Self> {
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
    /// Of a request that has so much time for name services and KDCs.
    pub(super) fn within(limit: Duration) -> Self {
        let [least, most] = DAEMON_LIMITS;
        Self { silent: Vec::new(), with_daemons: (limit / DAEMON_SHARE).clamp(least, most) }
    }

    /// The failure for a cache that nobody has answered for.
    pub(super) fn silent(&self, whom: Whom, name: &CacheNames) -> Failure {
        match whom {
            Whom::Daemon => {
                let seconds = self.with_daemons.as_secs_f32();
                let detail = format!(
                    "the daemon that keeps it has not answered within {seconds:.1} s (if it has just been started, ask again)"
                );
                name.failure(Cause::BadCache, &detail)
            }
            Whom::Kernel => name.failure(Cause::BadCache, &Late::Unanswered.to_string()),
        }
    }

    /// The answer, if it comes in time.
    pub(super) fn ask<T: Send + 'static>(
        &mut self,
        whom: Whom,
        library: &Library,
        question: impl FnOnce(&Library) -> Result<T, Krb5Error> + Send + 'static,
    ) -> Option<Result<T, Krb5Error>> {
        if self.silent.contains(&whom) {
            return None;
        }
        let configuration = library.configuration();
        let ask = move || Library::open_by(configuration).and_then(|library| question(&library));
        let limit = if whom == Whom::Daemon { self.with_daemons } else { KERNEL_LIMIT };
        let answer = answer::within(limit, ask).ok();
        self.silent.extend(answer.is_none().then_some(whom));
        answer
    }
}
