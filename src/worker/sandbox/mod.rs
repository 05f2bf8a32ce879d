//! Rights that the worker gives up before it reads a byte that somebody else wrote (rules S10, S13).
//!
//! In this order: limits, ids, capabilities and no_new_privs by the launcher; then [`close`], after the proof that the ids are
//! dropped, since an id change would undo both of its settings; [`enter`], once the request says how tightly, before the
//! first thread; [`await_answers`], when nothing more is to be opened. In between, where the network is not the host's,
//! [`confine_names`] once credentials have been read from daemons.
//!
//! Invariant: each step only takes rights away. A kernel without Landlock leaves [`calls`] alone, one with an old version a
//! part of [`files`].

mod calls;
mod files;
mod needs;

use std::io;

use calls::PhaseCalls;
use needs::CallNeeds;

use crate::config::WorkerSandbox;
use crate::creds::source_list::SourceEntry;
use crate::event::{Cause, Failure, Stage};
use crate::identity::unprivileged::Unprivileged;
use crate::negotiate::messages::{HostNames, Request, Target};
use crate::sys::{jail, name_service, socket_filter};

/// Makes the process undumpable, and has it killed when the monitor ends.
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn close(_proof: &Unprivileged) -> Result<(), Failure> {
    jail::leave_no_core().map_err(|errno| broken("core", errno.into()))?;
    // If the monitor died earlier, the next message finds the pipe closed.
    jail::die_with_parent().map_err(|errno| broken("parent", errno.into()))
}

/// Confines the process to what a request needs. Called before there is a second thread, since Landlock knows no others.
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn enter(request: &Request, sources: &[SourceEntry]) -> Result<(), Failure> {
    if request.sandbox == WorkerSandbox::Off {
        return Ok(());
    }
    confine_files(request, sources).map_err(|error| broken("files", error))?;
    confine_calls(request, sources).map_err(|error| broken("calls", error))
}

/// Confines the process to what the renewal of a ticket needs. Called before there is a second thread, too.
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn enter_for_renewal(sandbox: WorkerSandbox) -> Result<(), Failure> {
    if sandbox == WorkerSandbox::Off {
        return Ok(());
    }
    files::confine(sandbox, None, &[]).map_err(|error| broken("files", error))?;
    let calls = PhaseCalls::Everything(CallNeeds::of_renewal(sandbox));
    calls::confine(sandbox, calls).map_err(|error| broken("calls", error))
}

/// Landlock's half of [`enter`].
///
/// # Errors
/// The library's or the kernel's.
pub(super) fn confine_files(request: &Request, sources: &[SourceEntry]) -> io::Result<()> {
    let server = match &request.target {
        Target::Rpc { channel, .. } => Some(channel.port),
        Target::Lustre { .. } => None,
    };
    files::confine(request.sandbox, server, sources)
}

/// The half of seccomp.
///
/// # Errors
/// The library's or the kernel's.
pub(super) fn confine_calls(request: &Request, sources: &[SourceEntry]) -> io::Result<()> {
    calls::confine(request.sandbox, PhaseCalls::Everything(CallNeeds::of(request, sources)))
}

/// From here on nothing is opened, connected or loaded: what is left is to read the server's answers. `sandbox` is the request's.
///
/// # Errors
/// The library's or the kernel's.
pub(super) fn await_answers(sandbox: WorkerSandbox) -> io::Result<()> {
    match sandbox {
        WorkerSandbox::Off => Ok(()),
        WorkerSandbox::Strict | WorkerSandbox::Plugins => calls::confine(sandbox, PhaseCalls::Answers),
    }
}

/// From here on, host names come from the sources that the request allows (rule S23).
///
/// # Errors
/// [`Failure`] of the stage `Launch`.
pub(super) fn confine_names(names: HostNames) -> Result<(), Failure> {
    match names {
        HostNames::AsTheHost => Ok(()),
        HostNames::FilesAndDns => {
            name_service::stay_in_this_network().map_err(|error| broken("local sockets", error))
        }
    }
}

/// From here on there is no way to a network, for a mechanism whose tokens all go through the monitor (rule S13).
///
/// # Errors
/// The library's or the kernel's.
pub(super) fn leave_networks() -> io::Result<()> {
    socket_filter::allow(&[])
}

/// The failure for a step that did not succeed.
pub(super) fn broken(what: &str, error: io::Error) -> Failure {
    Failure::new(Stage::Launch, Cause::Setup, format_args!("sandbox: {what}: {error}"))
}
