//! What the worker takes from itself before it reads a byte that somebody else wrote (rules S10, S13).
//!
//! Called once, after the proof that the ids are dropped: an id change would undo both settings here.
//!
//! Later, once credentials of daemons have been read, [`confine_names`] in another network than the host's.
//!
//! Not here yet: Landlock and a narrower seccomp filter. Their place is the end of [`close`], after which no file but krb5.conf, its
//! plugins, the resolver's configuration and the cache is opened and nothing is executed.

use crate::event::{Cause, Failure, Stage};
use crate::identity::unprivileged::Unprivileged;
use crate::negotiate::messages::HostNames;
use crate::sys::{jail, name_service};

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

/// From here on names come from where the request says (rule S23).
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn confine_names(names: HostNames) -> Result<(), Failure> {
    match names {
        HostNames::AsTheHost => Ok(()),
        HostNames::FilesAndDns => name_service::stay_in_this_network().map_err(|error| {
            Failure::new(Stage::Launch, Cause::Setup, format_args!("sandbox: local sockets: {error}"))
        }),
    }
}
