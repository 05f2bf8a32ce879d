//! Memory of a process: its share of all that it has mapped (PSS), and its private pages; proc_pid_smaps(5).

use std::iter::Sum;

use nix::unistd::Pid;

/// In KiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// A page that n processes share counts 1/n.
    pub(crate) pss: f64,
    /// Pages that would be free if this process ended.
    pub(crate) private: f64,
}

impl Memory {
    /// `None` if the process has ended.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let field = |name: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            rest.split_whitespace().next()?.parse::<f64>().ok()
        };
        let private = field("Private_Clean:")? + field("Private_Dirty:")?;
        Some(Self { pss: field("Pss:")?, private })
    }
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self { pss: a.pss + b.pss, private: a.private + b.private })
    }
}
