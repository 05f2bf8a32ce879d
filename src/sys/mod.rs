//! The edge to the kernel: one typed function for each system call, or for each operation of a multiplexed one.
//!
//! `unsafe` is allowed only here and in `gss`, and each block says why it is sound. Nothing here makes a decision.
#![expect(unsafe_code, reason = "the system-call edge")]

#[cfg(feature = "upcall")]
pub(crate) mod activation;
#[cfg(feature = "gss")]
pub(crate) mod answer;
#[cfg(feature = "upcall")]
mod bare;
#[cfg(feature = "upcall")]
pub(crate) mod call_filter;
#[cfg(feature = "upcall")]
pub(crate) mod call_groups;
#[cfg(feature = "upcall")]
pub(crate) mod duplex;
#[cfg(feature = "upcall")]
pub(crate) mod entry;
#[cfg(feature = "upcall")]
pub(crate) mod errno;
#[cfg(feature = "upcall")]
pub(crate) mod exec;
#[cfg(feature = "upcall")]
pub(crate) mod file_rules;
#[cfg(feature = "upcall")]
pub(crate) mod files;
#[cfg(feature = "upcall")]
pub(crate) mod fork;
#[cfg(feature = "upcall")]
pub(crate) mod given;
#[cfg(feature = "upcall")]
pub(crate) mod heap;
#[cfg(feature = "upcall")]
pub(crate) mod heir;
#[cfg(feature = "gss")]
pub(crate) mod inherited;
#[cfg(feature = "upcall")]
pub(crate) mod init_channel;
#[cfg(feature = "upcall")]
pub(crate) mod jail;
#[cfg(feature = "upcall")]
pub(crate) mod kept_setuid;
pub(crate) mod key_watch;
pub(crate) mod keyctl;
#[cfg(feature = "upcall")]
pub(crate) mod lending;
#[cfg(feature = "upcall")]
pub(crate) mod listening;
#[cfg(feature = "upcall")]
pub(crate) mod locked;
#[cfg(feature = "upcall")]
pub(crate) mod locks;
#[cfg(feature = "gss")]
pub(crate) mod name_service;
#[cfg(all(test, feature = "upcall"))]
pub(crate) mod named_session;
#[cfg(feature = "upcall")]
pub(crate) mod namespaces;
#[cfg(feature = "upcall")]
pub(crate) mod own_view;
#[cfg(feature = "upcall")]
pub(crate) mod passed;
#[cfg(feature = "upcall")]
pub(crate) mod passing;
pub(crate) mod per_process;
#[cfg(feature = "upcall")]
pub(crate) mod proc;
#[cfg(feature = "upcall")]
pub(crate) mod process;
pub(crate) mod random;
#[cfg(feature = "tools")]
pub(crate) mod signals;
#[cfg(feature = "gss")]
pub(crate) mod socket_filter;
#[cfg(feature = "upcall")]
pub(crate) mod tables;
pub(crate) mod thread_uid;
