//! What takes rights that most users lack: looking at everybody's contexts, ending them, loading shared keys.
//!
//! Called by `lgss`, `lgss_sk` and `lgss_helper`. Each operation is one type with the code that acts, the same in all programs. Called
//! with the rights of root, it acts; without them, [`perform`] forwards it to `lgss_helper`, which calls it again, with rights and with
//! the mark that it was forwarded. Invariant: nothing that an operation reads from a request says who asks or what they may; that
//! comes from the kernel (src/helper).
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "tools"),
    allow(dead_code, reason = "without the tools nobody prints what the operations find")
)]

pub(crate) mod child;
pub(crate) mod contexts;
mod forward;
#[cfg(feature = "test-programs")]
pub mod fuzz;
pub(crate) mod hooks;
pub(crate) mod log;
mod operation;
mod perform;
pub(crate) mod pipe;
mod place;
pub(crate) mod programs;
pub(crate) mod shared_keys;

pub(crate) use forward::other_version;
pub(crate) use operation::{Delegable, Undone};
#[cfg(feature = "tools")]
pub(crate) use operation::{Delegated, RootRights};
pub(crate) use perform::perform;
#[cfg(feature = "tools")]
pub(crate) use perform::permitted;
#[cfg(feature = "tools")]
pub(crate) use place::{Installed, beside};
