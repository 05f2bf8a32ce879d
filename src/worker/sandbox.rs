//! Rights that the worker gives up before it reads a byte that somebody else wrote (rules S10, S13).
//!
//! [`close`] is called once, after the proof that the ids are dropped, since an id change would undo both of its settings.
//! [`confine_names`] follows once credentials have been read from daemons, if the network is not the host's;
//! [`leave_networks`] where no network is needed.
//!
//! Not here yet: Landlock and a narrower seccomp filter. They belong at the end of [`close`]. After it, no file is opened but
//! krb5.conf, its plugins, OpenSSL's and the resolver's configuration and the cache, and nothing is executed.

use crate::event::{Cause, Failure, Stage};
use crate::identity::unprivileged::Unprivileged;
use crate::negotiate::messages::HostNames;
use crate::sys::{jail, name_service, socket_filter};

/// Makes the process undumpable, and has it killed when the monitor ends.
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn close(_proof: &Unprivileged) -> Result<(), Failure> {
    let broken = |what: &'static str| {
        move |errno| Failure::new(Stage::Launch, Cause::Setup, format_args!("sandbox: {what}: {errno}"))
    };
    jail::leave_no_core().map_err(broken("core"))?;
    // If the monitor died earlier, the next message finds the socket closed.
    jail::die_with_parent().map_err(broken("parent"))
}

/// From here on, host names come from the sources that the request allows (rule S23).
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

/// From here on there is no way to a network, for a mechanism whose tokens all go through the monitor (rule S13).
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn leave_networks() -> Result<(), Failure> {
    socket_filter::allow(&[])
        .map_err(|error| Failure::new(Stage::Launch, Cause::Setup, format_args!("sandbox: sockets: {error}")))
}
