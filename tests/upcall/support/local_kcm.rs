//! An `lgss_kcm` of one test, with a stub in the place of the agent or with the agent itself.

use super::log::LogReader;
use super::process::{Daemon, Process, command, command_as, run};
use super::scratch::Scratch;
use super::site::{install, install_content};
use super::wait::wait_for;
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Ends on drop, with all its agents.
#[derive(Debug)]
pub(crate) struct LocalKcm {
    pub(crate) daemon: Daemon,
    pub(crate) log: LogReader,
    /// Its uid is a user's; the next one is that of the server itself.
    scratch: Scratch,
    /// Another user.
    other: Scratch,
}

/// What an agent says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Answer(BTreeMap<String, String>);

impl Answer {
    fn read(line: &str) -> Option<Self> {
        let fields = line.split(' ').map(|field| field.split_once('=')).collect::<Option<Vec<_>>>()?;
        Some(Self(fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.field("Pid").parse().unwrap())
    }
}

impl LocalKcm {
    /// Starts one as root, whose stubs of agents do as `way` says.
    pub(crate) fn start(way: &str, options: &[&str]) -> Self {
        Self::start_by(way, |kcm| {
            let mut command = command(&kcm[0]);
            command.args(&kcm[1..]).args(options);
            command
        })
    }

    /// Starts one as root with the agent itself, which has these settings.
    pub(crate) fn start_agents(settings: &str, options: &[&str]) -> Self {
        Self::start_of(env!("CARGO_BIN_EXE_lgss_agent"), settings, |kcm| {
            let mut command = command(&kcm[0]);
            command.args(&kcm[1..]).args(options);
            command
        })
    }

    /// Starts one with stubs by a command that is given the words of another.
    pub(crate) fn start_by(way: &str, starting: impl FnOnce(&[String]) -> Command) -> Self {
        Self::start_of(env!("CARGO_BIN_EXE_lgss-agent-stub"), way, starting)
    }

    fn start_of(agent: &str, way: &str, starting: impl FnOnce(&[String]) -> Command) -> Self {
        let scratch = Scratch::new();
        let log = LogReader::bind(&scratch.path("log"));
        install(env!("CARGO_BIN_EXE_lgss_kcm"), &scratch.path("lgss_kcm"), 0o755);
        install(agent, &scratch.path("lgss_agent"), 0o711);
        install(env!("CARGO_BIN_EXE_lgss-agent-stub"), &scratch.path("client"), 0o755);
        install_content(way, &scratch.path("way"), 0o644);
        let starting = starting(&words(&scratch));
        let daemon = Daemon::start_with_streams(starting, &scratch.path(""), "kcm.out");
        let mut kcm = Self { daemon, log, scratch, other: Scratch::new() };
        kcm.wait_until_it_listens();
        kcm
    }

    /// Starts another one in its place, which has ended.
    pub(crate) fn start_again(&mut self, starting: impl FnOnce(&[String]) -> Command) {
        let starting = starting(&self.words());
        self.daemon = Daemon::start_with_streams(starting, &self.path(""), "kcm.out");
        self.wait_until_it_listens();
    }

    /// Its command line, without further options.
    pub(crate) fn words(&self) -> Vec<String> {
        words(&self.scratch)
    }

    fn wait_until_it_listens(&mut self) {
        let (socket, said) = (self.socket(), self.path("kcm.out"));
        wait_for("lgss_kcm", Duration::from_secs(15), || {
            if self.daemon.ended().is_some() {
                panic!("no lgss_kcm: {}", std::fs::read_to_string(&said).unwrap_or_default());
            }
            // Who connected would have an agent.
            socket.metadata().is_ok_and(|found| found.mode() & 0o777 == 0o666).then_some(())
        });
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("socket")
    }

    /// A user; neither this one nor the other is in /etc/passwd.
    pub(crate) fn user(&self) -> u32 {
        self.scratch.uid()
    }

    pub(crate) fn other_user(&self) -> u32 {
        self.other.uid()
    }

    /// The user of `lgss_kcm` itself.
    pub(crate) fn own_user(&self) -> u32 {
        self.scratch.uid() + 1
    }

    /// Has the stubs of this user's agents do something else.
    pub(crate) fn set_way(&self, uid: u32, way: &str) {
        install_content(way, &self.path(&format!("way.{uid}")), 0o644);
    }

    /// Lets stubs leave that were to do so when told.
    pub(crate) fn let_leave(&self) {
        install_content("", &self.path("way.leave"), 0o644);
    }

    /// What this user's client is answered by its agent.
    #[track_caller]
    pub(crate) fn ask(&self, uid: u32) -> Answer {
        let line = self.lines(uid, "ask", 1).remove(0);
        Answer::read(&line).unwrap_or_else(|| panic!("{line}; log: {:#?}", self.log.lines()))
    }

    /// What a client of this user's prints.
    #[track_caller]
    pub(crate) fn lines(&self, uid: u32, what: &str, count: u32) -> Vec<String> {
        let mut client = command_as(uid, self.path("client"));
        client.arg("client").arg(self.socket()).arg(what).arg(count.to_string());
        let said = run(&mut client, "").unwrap_or_else(|text| panic!("{text}"));
        said.lines().map(str::to_owned).collect()
    }

    /// Its child that takes connections.
    #[track_caller]
    pub(crate) fn acceptor(&self) -> Pid {
        let keeper = self.daemon.pid();
        let exe = self.path("lgss_kcm");
        wait_for("the acceptor", Duration::from_secs(10), || {
            let others =
                Process::all().into_iter().filter(|process| process.exe == exe && process.pid != keeper);
            others.map(|process| process.pid).next()
        })
    }

    /// The agents that run now.
    pub(crate) fn agents(&self) -> Vec<Pid> {
        self.agents_with_uids().into_iter().map(|(pid, _)| pid).collect()
    }

    /// The same, each with the user that it runs as.
    pub(crate) fn agents_with_uids(&self) -> Vec<(Pid, u32)> {
        let exe = self.path("lgss_agent");
        // Each has a process that starts workers for it, which has another name.
        let name = |pid: Pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let is_agent = |process: &Process| process.exe == exe && name(process.pid) != "lgss_starter\n";
        let agents = Process::all().into_iter().filter(is_agent);
        agents.filter_map(|process| Some((process.pid, process.uid?))).collect()
    }

    /// Waits until so many agents run.
    #[track_caller]
    pub(crate) fn wait_for_agents(&self, count: usize) {
        wait_for(&format!("{count} agents"), Duration::from_secs(10), || {
            (self.agents().len() == count).then_some(())
        });
    }
}

/// The command line of an `lgss_kcm` of this test's.
fn words(scratch: &Scratch) -> Vec<String> {
    let path = |name: &str| scratch.path(name).display().to_string();
    let own = (scratch.uid() + 1).to_string();
    let words = ["--socket", &path("socket"), "--agent", &path("lgss_agent"), "--agent-config", &path("way")];
    let more = ["--user", &own, "--log-socket", &path("log")];
    [path("lgss_kcm").as_str()].into_iter().chain(words).chain(more).map(str::to_owned).collect()
}

/// Open descriptors of a process.
#[track_caller]
pub(crate) fn open_descriptors(pid: Pid) -> usize {
    std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).unwrap().count()
}
