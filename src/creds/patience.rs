//! Questions of the library's that may stay without an answer, and how long that is waited for.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::search::PASSED_OVER;
use super::ticket::CacheNames;
use crate::event::{Cause, Failure};
use crate::gss::krb5::Library;
use crate::gss::status::Krb5Error;

/// How long a daemon may take to list its caches, or to tell of one; or the kernel to link a keyring.
const LIMIT: Duration = Duration::from_secs(2);

/// Who may not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// A daemon that keeps caches.
    Daemon,
    /// The kernel: the library reaches these caches by a link of keyrings, for which there is one lock (rule S21).
    Kernel,
}

/// Who has not answered, and need not be asked again.
#[derive(Debug, Default)]
pub(super) struct Patience {
    silent: Vec<Whom>,
}

impl Whom {
    /// Whom a cache has to be asked of, if it is that somebody.
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

    /// What is said of a cache that it has not told of.
    pub(super) fn silent(self, name: &CacheNames) -> Failure {
        match self {
            Self::Daemon => name.silent(),
            Self::Kernel => name.failure(Cause::BadCache, PASSED_OVER),
        }
    }
}

impl Patience {
    /// The answer, if it comes in time. In a thread of its own, which ends with the process: no call of the library's can be
    /// given up.
    pub(super) fn ask<T: Send + 'static>(
        &mut self,
        whom: Whom,
        library: &Library,
        question: impl FnOnce(&Library) -> Result<T, Krb5Error> + Send + 'static,
    ) -> Option<Result<T, Krb5Error>> {
        if self.silent.contains(&whom) {
            return None;
        }
        let (sender, receiver) = mpsc::channel();
        let configuration = library.configuration();
        let ask = move || sender.send(Library::open_by(configuration).and_then(|library| question(&library)));
        let started = thread::Builder::new().spawn(ask);
        let answer = started.ok().and_then(|_| receiver.recv_timeout(LIMIT).ok());
        self.silent.extend(answer.is_none().then_some(whom));
        answer
    }
}
