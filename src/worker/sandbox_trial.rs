//! The sandbox by its parts, for the test that shows what each is worth against a worker that has been taken over.

use nix::errno::Errno;

use super::sandbox;
use crate::config::WorkerSandbox;
use crate::creds::source_list::{self, SourceEntry};
use crate::negotiate::messages::Request;
use crate::sys::errno::errno_of;

/// What an attempt is confined by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxTrial {
    /// Nothing but lost rights.
    Nothing,
    /// Landlock.
    Files,
    /// seccomp.
    Calls,
    /// Both, as while credentials are read and KDCs asked.
    Both,
    /// Both and no way to a network, as while the monitor passes tokens on for a ticket that is new.
    Relayed,
    /// Both, as after the first token with a ticket that is new.
    Answers,
    /// Both, for a site with plugins.
    Plugins,
}

impl SandboxTrial {
    /// All, from none to the tightest, then the one for plugins.
    pub const ALL: [Self; 7] =
        [Self::Nothing, Self::Files, Self::Calls, Self::Both, Self::Relayed, Self::Answers, Self::Plugins];

    /// Its name in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Files => "Landlock",
            Self::Calls => "seccomp",
            Self::Both => "both",
            Self::Relayed => "relayed",
            Self::Answers => "answers",
            Self::Plugins => "plugins",
        }
    }
}

/// Confines the process as a worker with this request, the monitor's JSON, and this list of sources, the launcher's, confines
/// itself, whatever the settings of the site are. An empty list has no sources.
///
/// # Errors
/// EPROTO for what is no request or no list; the kernel's.
pub fn confine(trial: SandboxTrial, request: &str, list: &[u8]) -> Result<(), Errno> {
    let mut request: Request = serde_json::from_str(request).map_err(|_| Errno::EPROTO)?;
    request.sandbox =
        if trial == SandboxTrial::Plugins { WorkerSandbox::Plugins } else { WorkerSandbox::Strict };
    let sources: Vec<SourceEntry> =
        if list.is_empty() { Vec::new() } else { source_list::decode(list).map_err(|_| Errno::EPROTO)? };
    let done = match trial {
        SandboxTrial::Nothing => return Ok(()),
        SandboxTrial::Files => sandbox::confine_files(&request, &sources),
        SandboxTrial::Calls => sandbox::confine_calls(&request, &sources),
        SandboxTrial::Both | SandboxTrial::Relayed | SandboxTrial::Answers | SandboxTrial::Plugins => {
            sandbox::confine_files(&request, &sources)
                .and_then(|()| sandbox::confine_calls(&request, &sources))
                .and_then(|()| match trial {
                    SandboxTrial::Relayed => sandbox::leave_networks(),
                    SandboxTrial::Answers => sandbox::await_answers(request.sandbox),
                    _ => Ok(()),
                })
        }
    };
    done.map_err(|error| errno_of(&error))
}
