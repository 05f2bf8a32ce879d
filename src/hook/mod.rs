//! The site's hooks (rule S14): programs of the administrator's in one directory, called by a bare name, with data in JSON on
//! standard input and the result in JSON on standard output.
//!
//! Called by the monitor for host names and users' credentials, and for operators by `lgss hook run`. Invariant: what is executed is
//! the opened file that was verified, without rights, isolated, and within limits; when a run returns, nothing of it is left; and
//! callers outside this machine's log learn only that it failed.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "tools"),
    allow(dead_code, unused_imports, reason = "without the tools nobody runs hooks for operators")
)]

mod calls;
mod failure;
mod fields;
mod isolation;
mod lock;
mod operator;
mod run;
mod verify;

pub(crate) use failure::HookFailure;
pub(crate) use fields::{CacheAnswer, CacheInput, HostAnswer, HostInput, OPERATOR_FIELDS};
pub(crate) use operator::{NoHookResult, run_for_operator};
pub(crate) use run::{HookCall, HookOutput, RunsAs, run};
pub(crate) use verify::could_run;
