//! A network namespace of a test, with a loopback of its own.

use super::process::{Daemon, Process, command, succeed};
use super::wait::wait_for;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Lives as long as the process that holds it.
#[derive(Debug)]
pub(crate) struct NetNamespace(Daemon);

impl NetNamespace {
    pub(crate) fn new(directory: &Path) -> Self {
        let mut holder = command("unshare");
        holder.args(["--net", "sleep", "infinity"]);
        let namespace = Self(Daemon::start(holder, directory, "netns.log"));
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        wait_for("the network namespace", Duration::from_secs(5), || {
            fs::read_link(namespace.path()).ok().filter(|theirs| *theirs != ours)
        });
        succeed(namespace.enter(Command::new("ip")).args(["link", "set", "lo", "up"]), "");
        // With no address but 127.0.0.1, getaddrinfo(AI_ADDRCONFIG) finds nobody.
        succeed(namespace.enter(Command::new("ip")).args(["address", "add", "192.0.2.1/32", "dev", "lo"]), "");
        namespace
    }

    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.pid())
    }

    /// `program` inside; arguments may be added.
    pub(crate) fn enter(&self, program: Command) -> Command {
        let mut inside = command("nsenter");
        inside.arg(format!("--net={}", self.path())).arg("--").arg(program.get_program()).args(program.get_args());
        inside
    }

    /// Whether `process` is inside.
    pub(crate) fn holds(&self, process: &Process) -> bool {
        fs::read_link(format!("/proc/{}/ns/net", process.pid)).ok() == fs::read_link(self.path()).ok()
    }
}
