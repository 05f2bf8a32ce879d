//! The keeper's children: the acceptor, agents, and those that only close what strangers have sent.
//!
//! The keeper also inherits what an agent leaves behind when it ends. An agent's user can stop it and everything it has started,
//! so a closed door does not mean that they have ended: they are counted here until they have. Not those from before a start by a
//! service manager, which are no children of ours.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid, getsid, pipe2};

use super::launch::NOT_STARTED;
use super::lines::{KcmLog, LogSeverity};
use crate::identity::requester::real_user;
use crate::sys::fork::{ForkResult, fork};
use crate::sys::passing::may_hold_descriptors;
use crate::sys::proc::{self, first_word_of, open_task};
use crate::sys::process::end;

/// First words of the command lines of agents, and of what they start.
const OURS: [&str; 2] = ["lgss_agent", "lgss_negotiate"];
/// So many children that close are nothing unusual.
const CLOSERS: usize = 32;
/// With so many or more, this many sockets wait for another child, and twice as many each time that there are as many again, up to
/// 8192.
const WAITING: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Children {
    /// Uids that agents serve.
    agents: BTreeMap<Pid, u32>,
    /// What agents have left behind.
    left: BTreeMap<Pid, LeftProcess>,
    acceptor: Option<Pid>,
    /// Those that only close, and acceptors that are about to end.
    closers: Vec<Pid>,
    /// To be closed.
    waiting: Vec<OwnedFd>,
}

/// Something that an agent has left behind.
#[derive(Debug)]
struct LeftProcess {
    user: u32,
    /// That of the agent, by whose number it is called: each begins one.
    session: Pid,
}

impl Children {
    /// Those that a program which has been executed again has had before: agents. As pid 1, or by whoever started it, it may have
    /// children that are none.
    pub(super) fn found() -> Self {
        let mut found = Self::default();
        for pid in proc::children().unwrap_or_default() {
            let user = open_task(&pid.to_string()).ok().and_then(|task| {
                let word = first_word_of(task.as_fd())?;
                real_user(&task).filter(|_| OURS.contains(&word.as_str()))
            });
            let pid = Pid::from_raw(pid);
            // Root's agent has our uid.
            let user = user.map(|user| if user == geteuid().as_raw() { 0 } else { user });
            match (user, getsid(Some(pid))) {
                (Some(user), Ok(session)) if session == pid => drop(found.agents.insert(pid, user)),
                (Some(user), Ok(session)) => drop(found.left.insert(pid, LeftProcess { user, session })),
                _ => {}
            }
        }
        found
    }

    /// How many processes of agents of these users there are.
    pub(super) fn of_users(&mut self, uids: &RangeInclusive<u32>) -> usize {
        self.adopt();
        let left = self.left.values().map(|process| &process.user);
        self.agents.values().chain(left).filter(|uid| uids.contains(uid)).count()
    }

    /// Learns which children that nobody here has started are an agent's: by its session, which says more than /proc where that is
    /// mounted so that it hides others' processes.
    fn adopt(&mut self) {
        for pid in proc::children().unwrap_or_default().into_iter().map(Pid::from_raw) {
            let session = if self.is_known(pid) { None } else { getsid(Some(pid)).ok() };
            if let Some((session, user)) = session.and_then(|session| Some((session, self.user_in(session)?)))
            {
                self.left.insert(pid, LeftProcess { user, session });
            }
        }
    }

    fn user_in(&self, session: Pid) -> Option<u32> {
        let mut left = self.left.values().filter(|process| process.session == session);
        self.agents.get(&session).copied().or_else(|| left.next().map(|process| process.user))
    }

    fn is_known(&self, pid: Pid) -> bool {
        self.agents.contains_key(&pid)
            || self.left.contains_key(&pid)
            || self.acceptor == Some(pid)
            || self.closers.contains(&pid)
    }

    pub(super) fn add_agent(&mut self, agent: Pid, uid: u32) {
        self.agents.insert(agent, uid);
    }

    pub(super) fn expect_acceptor(&mut self, acceptor: Pid) {
        self.acceptor = Some(acceptor);
    }

    /// It has been told to end, so that nothing is told of its end.
    pub(super) fn dismiss_acceptor(&mut self) {
        self.closers.extend(self.acceptor.take());
    }

    /// Who that child was; nobody for those of whose end nothing is told.
    fn forget(&mut self, pid: Pid) -> Option<String> {
        if let Some(at) = self.closers.iter().position(|closer| *closer == pid) {
            self.closers.swap_remove(at);
            return None;
        }
        // What it leaves has become ours with its end, and is known by it.
        if self.agents.contains_key(&pid) || self.left.contains_key(&pid) {
            self.adopt();
        }
        if let Some(uid) = self.agents.remove(&pid) {
            return Some(format!("uid {uid}: agent {pid}"));
        }
        if self.acceptor.take_if(|acceptor| *acceptor == pid).is_some() {
            return Some(format!("acceptor {pid}"));
        }
        // Else it was another that an agent had left behind.
        self.left.remove(&pid);
        None
    }

    /// Reaps those that have ended, and tells of those that should not have.
    pub(super) fn reap(&mut self, lines: &mut KcmLog) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let Some(pid) = status.pid() else { break };
            let Some(who) = self.forget(pid) else { continue };
            let (severity, how) = match status {
                WaitStatus::Exited(_, NOT_STARTED) => {
                    let how =
                        "was not started: it could not become the user, or the program could not be executed";
                    (LogSeverity::Warning, how.to_owned())
                }
                WaitStatus::Exited(_, status) if status != 0 => {
                    (LogSeverity::Warning, format!("ended with status {status}"))
                }
                WaitStatus::Signaled(_, signal @ (Signal::SIGKILL | Signal::SIGTERM), _) => {
                    (LogSeverity::Info, format!("was ended by {signal}"))
                }
                WaitStatus::Signaled(_, signal, _) => {
                    (LogSeverity::Warning, format!("was ended by {signal}"))
                }
                _ => continue,
            };
            lines.write(severity, &format!("{who} {how}"));
        }
        self.close(Vec::new());
    }

    /// Closes sockets that strangers could write to, in a child if that could take long.
    pub(super) fn close(&mut self, sockets: Vec<OwnedFd>) {
        let waiting = sockets.into_iter().filter(|socket| may_hold_descriptors(socket.as_fd()));
        self.waiting.extend(waiting);
        // If those that close hang, the more there are, the more each of them gets: there is no end of strangers' files.
        let wanted = match self.closers.len() / CLOSERS {
            0 => 1,
            times => WAITING << times.saturating_sub(1).min(5),
        };
        let is_time = self.waiting.len() >= wanted;
        if !is_time {
            return;
        }
        let Ok((told, tell)) = pipe2(nix::fcntl::OFlag::O_CLOEXEC) else { return };
        match fork() {
            Ok(ForkResult::Child) => {
                drop(tell);
                // Until the parent has closed its own, so that these are the last.
                let _ = nix::unistd::read(&told, &mut [0]);
                end(0)
            }
            Ok(ForkResult::Parent { child }) => {
                self.closers.push(child);
                self.waiting.clear();
                drop(tell);
            }
            // They wait for the next time.
            Err(_) => {}
        }
    }
}

/// What of the counting this system makes impossible.
pub(super) fn uncounted() -> Option<&'static str> {
    if proc::children().is_err() {
        return Some(
            "what agents leave behind is not counted: no /proc, or a kernel without CONFIG_PROC_CHILDREN",
        );
    }
    open_task("1").ok().and_then(|first| real_user(&first)).is_none().then_some(
        "after SIGHUP, what agents have left behind is not counted: /proc hides others' processes (hidepid)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::REACHED;
    use crate::sys::process::Process;
    use std::time::{Duration, Instant};

    /// In a process of its own, since children are counted by process and whoever else forks here would count.
    fn in_a_process(act: impl FnOnce() -> bool) {
        match fork().unwrap() {
            ForkResult::Child => end(if act() { REACHED } else { 1 }),
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, REACHED)));
            }
        }
    }

    /// A child that lives until it is killed, or for a minute.
    fn sleeper() -> Pid {
        match fork().unwrap() {
            ForkResult::Child => {
                nix::unistd::alarm::set(60);
                loop {
                    nix::unistd::pause();
                }
            }
            ForkResult::Parent { child } => child,
        }
    }

    fn end_it(pid: Pid) {
        let process = Process::open(pid).unwrap();
        process.kill().unwrap();
        process.wait_for_end(Duration::from_secs(10));
    }

    #[test]
    fn what_an_agent_leaves_behind_is_counted_for_its_user_until_it_has_ended() {
        in_a_process(|| {
            nix::sys::prctl::set_child_subreaper(true).unwrap();
            // By the agent, whatever /proc says of it.
            let (all, nobodys) = (7..=7, 8..=u32::MAX);
            let mut children = Children::default();
            let (told, tell) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
            let agent = match fork().unwrap() {
                ForkResult::Child => {
                    nix::unistd::setsid().unwrap();
                    let left = sleeper();
                    let _ = nix::unistd::write(&tell, &left.as_raw().to_ne_bytes());
                    end(0)
                }
                ForkResult::Parent { child } => child,
            };
            children.add_agent(agent, 7);
            let mut number = [0; 4];
            nix::unistd::read(&told, &mut number).unwrap();
            let left = Pid::from_raw(i32::from_ne_bytes(number));
            Process::open(agent).unwrap().wait_for_end(Duration::from_secs(10));
            let mut lines = KcmLog::open("/nowhere".into());
            children.reap(&mut lines);
            let one = children.of_users(&all) == 1 && children.of_users(&nobodys) == 0;
            end_it(left);
            children.reap(&mut lines);
            one && children.of_users(&all) == 0
        });
    }

    #[test]
    fn agents_from_before_a_restart_are_known_and_other_children_are_none() {
        in_a_process(|| {
            let (agent, other) = (sleeper(), sleeper());
            // Their words are those of this process.
            let none = Children::found().agents.is_empty();
            let named = match fork().unwrap() {
                ForkResult::Child => {
                    nix::unistd::setsid().unwrap();
                    let _ = nix::unistd::execv(c"/bin/sleep", &[c"lgss_agent", c"60"]);
                    end(1)
                }
                ForkResult::Parent { child } => child,
            };
            let begun = Instant::now();
            let word = || first_word_of(open_task(&named.to_string()).unwrap().as_fd());
            while word().as_deref() != Some("lgss_agent") {
                assert!(begun.elapsed() < Duration::from_secs(20), "no such process");
                std::thread::sleep(Duration::from_millis(1));
            }
            let mut children = Children::found();
            let one = children.agents.keys().eq([&named]) && children.of_users(&(0..=u32::MAX)) == 1;
            [agent, other, named].into_iter().for_each(end_it);
            none && one
        });
    }
}
