//! Which process of an upcall is struck, at which of its system calls, and how: the words of an order to the killer.

use crate::short::Part;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    Kill,
    /// Stops there until another process kills it; calls count from the start of the monitor.
    Hang,
    /// The call is not made and returns this error.
    Fail(i32),
    /// Of a read or write a part is done. Only those that can be short count as calls; call 0 stands for all of them.
    Shorten(Part),
    /// Killed at an instruction of the allocator, see [`Target::instructions`].
    Tear,
}

/// A process of an upcall, by its parent and the order of its start: the lending process shares the front's memory too,
/// and the monitor has a guard for the key's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Front,
    /// The front's first child.
    Monitor,
    /// The monitor's first child.
    Worker,
    /// The monitor's first child after the worker's program has started: it sends a token to a server of Lustre.
    Exchange,
    Other,
}

impl Role {
    fn named(name: &str) -> Option<Self> {
        match name {
            "front" => Some(Self::Front),
            "monitor" => Some(Self::Monitor),
            "worker" => Some(Self::Worker),
            "exchange" => Some(Self::Exchange),
            _ => None,
        }
    }

    pub(crate) fn of_first_child(self) -> Self {
        match self {
            Self::Front => Self::Monitor,
            Self::Monitor => Self::Worker,
            Self::Worker | Self::Exchange | Self::Other => Self::Other,
        }
    }
}

pub(crate) struct Target {
    pub(crate) blow: Blow,
    pub(crate) role: Role,
    /// Number of the call that is struck, from 1.
    pub(crate) call: u32,
}

impl Target {
    /// By words such as `kill-front-17` or `fail-worker-3-12`.
    pub(crate) fn named(words: &str) -> Option<Self> {
        let (blow, rest) = words.split_once('-')?;
        let (role, rest) = rest.split_once('-')?;
        let (call, more) = rest.split_once('-').unwrap_or((rest, ""));
        let blow = match blow {
            "kill" => Blow::Kill,
            "hang" => Blow::Hang,
            "tear" => Blow::Tear,
            "fail" => Blow::Fail(more.parse().ok()?),
            "shorten" => Blow::Shorten(Part::named(more)?),
            _ => return None,
        };
        Some(Self { blow, role: Role::named(role)?, call: call.parse().ok()? })
    }

    /// The instruction of the allocator at which a process is killed, counted from the start of the monitor.
    pub(crate) fn instructions(&self) -> u32 {
        const STEP: u32 = 29;
        1 + self.call.saturating_sub(1) * STEP
    }
}
