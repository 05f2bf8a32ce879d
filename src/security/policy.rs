//! What contexts are for: one service, channel and level.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

use super::client_context::ClientContext;
use super::error::LookupError;
use super::facts::ContextPlace;
use super::flush::{Flush, Manner};
use super::negotiation::{ContextWish, Keeping, Seat, assemble};
use super::pending::{Lookup, Pending};
use super::registry::{self, SlotName, Want};
use crate::crypto::mic::Role;
use crate::ctx::{Context, ContextRequest};
use crate::sys::thread_uid::file_system_uid;

/// One service over one channel at one level; it makes contexts with it, one for each uid that asks, and keeps them.
/// Clones are the same value.
///
/// The contexts are this process's alone, in a keyring that ends with it, unless [`Security::shared`] says otherwise. They
/// belong to the thread's effective uid.
#[derive(Debug, Clone)]
pub struct Security(Arc<Identity>);

#[derive(Debug)]
struct Identity {
    id: u64,
    request: ContextRequest,
    keeping: Keeping,
}

impl Security {
    /// Contexts of this process's own. Nothing is negotiated before the first lookup.
    pub fn new(request: ContextRequest) -> Self {
        Self::of(request, Keeping::Own)
    }

    /// Contexts that all processes of a user find, where [`destination`](crate::ctx::client::destination) says. Each process
    /// numbers its tokens from a place of its own, far from those of the others, so this is for peers that do not look for copies by the
    /// numbers of tokens: one that does takes those of the lower place for old ones. RPCSEC_GSS has one sequence for all and is out.
    ///
    /// A request that names a principal has a context for that principal, beside those for others.
    pub fn shared(request: ContextRequest) -> Self {
        let instance = request.instance.clone().or_else(|| {
            let principal = request.principal.as_ref()?;
            Some(principals_instance(principal.as_str()))
        });
        Self::of(ContextRequest { instance, ..request }, Keeping::Shared)
    }

    fn of(request: ContextRequest, keeping: Keeping) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(Arc::new(Identity { id: NEXT.fetch_add(1, Ordering::Relaxed), request, keeping }))
    }

    /// What is requested.
    pub fn request(&self) -> &ContextRequest {
        &self.0.request
    }

    /// The context of the calling thread's effective uid: the present one if it may be used, else a new one, for which the
    /// thread waits until `timeout`. Threads that ask at the same time wait for one negotiation. A context whose end is
    /// near is given, and a new one negotiated in the background meanwhile.
    ///
    /// # Errors
    /// [`LookupError`]; [`LookupError::InProgress`] after `timeout`, which may be zero. A failure is remembered for some
    /// seconds, as long as the upcall's settings say; [`Security::flush`] forgets it.
    pub fn lookup(&self, timeout: Duration) -> Result<ClientContext, LookupError> {
        self.look_up(Want::Usable, timeout)
    }

    /// [`Security::lookup`] for event loops: does not wait.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn start(&self) -> Result<Lookup, LookupError> {
        registry::look_up(self.name()?, &self.wish(), Want::Usable)
    }

    /// The context that a lookup would give at once; nothing is negotiated for it.
    pub fn present(&self) -> Option<ClientContext> {
        registry::present(self.name().ok()?)
    }

    /// Starts the negotiation of a new context, or joins one that goes on. The old one is given by lookups until the new one
    /// is there, and may be used until its own end.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn refresh(&self) -> Result<Pending, LookupError> {
        match registry::look_up(self.name()?, &self.wish(), Want::Newer)? {
            Lookup::Pending(pending) => Ok(pending),
            Lookup::Ready(_) => Err(LookupError::InProgress),
        }
    }

    /// Another context than `useless`, which the server does not know any more, say. Lookups do not give that one again; who uses it
    /// may go on, as with [`Manner::Graceful`], but a shared one ends for all, since other processes would find it again. If others
    /// have replaced it already, theirs is given, so that many threads that find out cause one negotiation.
    ///
    /// # Errors
    /// As [`Security::lookup`].
    pub fn replace(&self, useless: &ClientContext, timeout: Duration) -> Result<ClientContext, LookupError> {
        useless.leave_to_nobody();
        self.look_up(Want::OtherThan(useless), timeout)
    }

    /// The other end of a context, for messages back to the client: `context` is one that this program, as a server, has accepted. It
    /// signs as the acceptor and counts from [`Context::send_sequence`], which is the acceptor's next number here. Nothing but the
    /// returned value refers to it: lookups do not give it, and neither flush nor gc reaches it. Of the request only the service
    /// is used.
    ///
    /// Install a context once, and make no more tokens with the library that accepted it: both would use the same numbers. What
    /// that library has received would be accepted again.
    ///
    /// # Errors
    /// [`LookupError::Client`] for a key that does not fit its type, which a [`BaseKey`](crate::ctx::BaseKey) excludes.
    pub fn install_reverse(&self, context: Context) -> Result<ClientContext, LookupError> {
        let first_token = context.send_sequence;
        let seat = Seat { place: ContextPlace::Nowhere, role: Role::Acceptor, first_token };
        assemble(geteuid().as_raw(), &self.0.request.service, context, seat)
    }

    /// An initiator's context of these parts, in no key; as if it had been looked up.
    #[cfg(any(test, feature = "test-programs"))]
    pub(crate) fn install_initiator(&self, context: Context) -> Result<ClientContext, LookupError> {
        let first_token = context.send_sequence;
        let seat = Seat { place: ContextPlace::Nowhere, role: Role::Initiator, first_token };
        assemble(geteuid().as_raw(), &self.0.request.service, context, seat)
    }

    /// Lets lookups give this context.
    #[cfg(test)]
    pub(crate) fn adopt(&self, context: &ClientContext) {
        registry::adopt(SlotName { security: self.0.id, owner: geteuid().as_raw() }, context);
    }

    /// Flushes contexts that were looked up through this value, and forgets failures; the next lookup negotiates anew.
    /// Returns the number of contexts.
    pub fn flush(&self, which: &Flush, manner: Manner) -> usize {
        registry::flush(Some(self.0.id), which, manner)
    }

    /// [`Security::flush`] for all contexts that this process has looked up.
    pub fn flush_everywhere(which: &Flush, manner: Manner) -> usize {
        registry::flush(None, which, manner)
    }

    /// Forgets the contexts of this process that have ended, and returns their number. Lookups do so for the context they
    /// want; a program with the contexts of many users calls this now and then.
    pub fn gc() -> usize {
        registry::gc()
    }

    /// Ends it: lookups of its clones negotiate anew. Contexts that are in use may be used to their end, as with
    /// [`Manner::Graceful`]. Dropping the last clone does the same.
    pub fn destroy(self) {
        self.flush(&Flush::All, Manner::Graceful);
    }

    fn look_up(&self, want: Want<'_>, timeout: Duration) -> Result<ClientContext, LookupError> {
        let deadline = Instant::now().checked_add(timeout);
        match registry::look_up(self.name()?, &self.wish(), want)? {
            Lookup::Ready(context) => Ok(context),
            Lookup::Pending(pending) => pending.wait_until(deadline),
        }
    }

    fn name(&self) -> Result<SlotName, LookupError> {
        let owner = geteuid().as_raw();
        if file_system_uid() != owner {
            return Err(LookupError::WhichUser);
        }
        Ok(SlotName { security: self.0.id, owner })
    }

    fn wish(&self) -> ContextWish<'_> {
        ContextWish { request: &self.0.request, keeping: self.0.keeping }
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        registry::flush(Some(self.id), &Flush::All, Manner::Graceful);
    }
}

/// The instance of a shared context for one principal (docs/formats.md): `as-` and half of the SHA-256 of its name, in hex.
fn principals_instance(principal: &str) -> String {
    let hash = Sha256::digest(principal.as_bytes());
    let half = hash.iter().take(16).map(|byte| format!("{byte:02x}"));
    std::iter::once("as-".to_owned()).chain(half).collect()
}
