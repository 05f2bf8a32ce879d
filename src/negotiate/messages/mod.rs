//! All messages between monitor and worker, on two pipes that only they hold.
//!
//! | message       | from    | count | content                                                    |
//! |---------------|---------|-------|------------------------------------------------------------|
//! | `Request`     | monitor | 1     | JSON [`Request`]                                           |
//! | `Ready`       | worker  | ≤ 3   | JSON [`Ready`], cache; for machine credentials only        |
//! | `TestedPrime` | worker  | ≤ 2   | JSON [`TestedPrime`]; for shared keys only                 |
//! | `Token`       | worker  | ≤ 16  | token; for a target of Lustre's only                       |
//! | `Reply`       | monitor | each  | JSON statuses and window, token, handle; after a `Token`   |
//! | `Again`       | monitor | ≤ 1   | nothing; after a `Token` that was not answered             |
//! | `Established` | worker  | ≤ 1   | JSON [`Established`], base key, handle                     |
//! | `Shared`      | worker  | ≤ 1   | JSON [`SharedKeyEstablished`], keys; for shared keys only     |
//! | `Failed`      | worker  | ≤ 1   | JSON [`Failed`]                                            |
//!
//! One of the last three ends the conversation. Any other message, and any that is too long or out of order, ends the worker.
//! frames.rs has the encoding.

mod frames;
#[cfg(feature = "test-programs")]
pub(super) mod fuzz;
mod monitor_end;
mod report;
mod request;
mod worker_end;

pub(crate) use frames::FrameError;
pub(crate) use monitor_end::MonitorEnd;
pub(crate) use report::{
    Considered, Established, Failed, Message, Ready, Report, SharedKeyEstablished, TRAIL_LIMIT, TRIED_LIMIT,
    TestedPrime, Timing,
};
pub(crate) use request::{Credentials, HostNames, Paused, Request, StageLimits, Target, Trail};
pub(crate) use worker_end::WorkerEnd;
#[cfg(feature = "gss")]
pub(crate) use {
    report::{CONSIDERED_LIMIT, trail_of},
    request::REQUEST_TIME,
};

#[cfg(test)]
mod contract;
