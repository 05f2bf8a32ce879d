//! The start of an agent: a child becomes the user, gives everything up and executes the agent's program.
//!
//! Invariant: whatever fails, the child ends, and its door with it. Once it runs as the user, it holds nothing but that door and the
//! program.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::resource::Resource;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use super::failure::KcmFailure;
use super::served::{Peer, PeerRule};
use crate::door;
use crate::sys::exec::{Execution, NotExecuted, close_all_but};
use crate::sys::fork::{ForkResult, fork};
use crate::sys::kept_setuid::{leave_for, raise_limit};
use crate::sys::process::{end, reset_inherited};

/// Descriptors that an agent may have: its user's connections.
pub(super) const AGENTS_DESCRIPTORS: u64 = 4096;
/// Exit status of a child that did not become an agent.
pub(super) const NOT_STARTED: i32 = 125;

/// The program, opened at the start: agents are of one version with us, whatever is installed meanwhile.
#[derive(Debug)]
pub(super) struct AgentProgram {
    opened: OwnedFd,
    /// Words after the uid.
    config: Vec<CString>,
}

impl AgentProgram {
    /// # Errors
    /// [`KcmFailure::AgentWords`].
    pub(super) fn new(opened: OwnedFd, config: Option<&Path>) -> Result<Self, KcmFailure> {
        let words = config.into_iter().flat_map(|file| [OsStr::new("--config"), file.as_os_str()]);
        let words = words.map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>();
        Ok(Self { opened, config: words.map_err(|_| KcmFailure::AgentWords)? })
    }

    /// Starts an agent with this end of its door. Its group is ours, which means nothing elsewhere: that of whoever connects may
    /// come from a set-group-id program.
    ///
    /// # Errors
    /// EAGAIN, ENOMEM.
    pub(super) fn start(&self, peer: Peer, served: PeerRule, agents_end: &OwnedFd) -> Result<Pid, Errno> {
        match fork()? {
            ForkResult::Parent { child } => Ok(child),
            ForkResult::Child => {
                // Its descriptors may be closed by now, so nothing is told or dropped: the keeper sees the status.
                let Err(_) = self.become_agent(peer, peer.agent_user(served), agents_end);
                end(NOT_STARTED)
            }
        }
    }

    fn become_agent(
        &self,
        peer: Peer,
        user: Uid,
        agents_end: &OwnedFd,
    ) -> Result<std::convert::Infallible, Errno> {
        reset_inherited();
        setsid()?;
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        dup2_stdin(null.as_fd())
            .and_then(|()| dup2_stdout(null.as_fd()))
            .and_then(|()| dup2_stderr(null.as_fd()))?;
        drop(null);
        // Soon the user can stop this process: it must hold nothing of others, neither doors nor the socket.
        close_all_but(&[self.opened.as_fd(), agents_end.as_fd()])?;
        // Copies, since the limit may be below the numbers that they have.
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(|_| Errno::EMFILE);
        let (program, agents_end) = (copy(&self.opened)?, copy(agents_end)?);
        raise_limit(Resource::RLIMIT_NOFILE, AGENTS_DESCRIPTORS)?;
        leave_for(user)?;
        let word = |text: String| CString::new(text).map_err(|_| Errno::EINVAL);
        let words = [word(door::DESCRIPTOR.to_string())?, word(peer.uid.to_string())?];
        let [number, uid] = &words;
        let mut argv = vec![c"lgss_agent", c"--door", number.as_c_str(), c"--for-uid", uid.as_c_str()];
        argv.extend(self.config.iter().map(CString::as_c_str));
        let execution = Execution {
            program,
            name: "lgss_agent",
            argv: &argv,
            environment: &[],
            descriptors: vec![agents_end],
        };
        // Nobody is told: the keeper sees the status.
        execution.run([], |[], _: &str, _: NotExecuted| end(NOT_STARTED))
    }
}
