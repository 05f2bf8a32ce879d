//! What the worker takes from itself before it reads a byte that somebody else wrote (rules S10, S13).
//!
//! Called once, after the proof that the ids are dropped: an id change would undo both settings here.
//!
//! Not here yet: seccomp and Landlock. Their place is the end of [`close`], after which no file but krb5.conf, its
//! plugins, the resolver's configuration and the cache is opened and nothing is executed.

use crate::event::{Cause, Failure, Stage};
use crate::identity::unprivileged::Unprivileged;
use crate::sys::jail;

/// Makes the process undumpable and bound to the monitor's life.
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn close(_proof: &Unprivileged) -> Result<(), Failure> {
    let broken = |what: &'static str| {
        move |errno| Failure::new(Stage::Launch, Cause::Setup, format_args!("sandbox: {what}: {errno}"))
    };
    jail::leave_no_core().map_err(broken("core"))?;
    // A monitor that died before this shows as a closed socket, at the next message at the latest.
    jail::die_with_parent().map_err(broken("parent"))
}
