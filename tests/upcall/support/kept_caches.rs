//! A user whose `lgss_agent` keeps caches in the persistent keyring, and agents of that user's, one after another.

use super::agent::{KcmClient, agent_program};
use super::persistent::PersistentRing;
use super::process::{Daemon, Process, command, command_as, run};
use super::realm::{PASSWORD, Realm};
use super::scratch::Scratch;
use super::site::{Site, install};
use super::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// Removes what a keyring has, in a session of the user's. `$p` is the persistent keyring, `$r` the agent's.
const IN_KEYRING: &str = "p=$(keyctl get_persistent @s) && r=$(keyctl search $p keyring _lgss_agent) && ";

/// The user. Dropped, all that belongs to it is removed.
#[derive(Debug)]
pub(crate) struct KeptCaches {
    _ring: PersistentRing,
    pub(crate) site: Site,
    /// Not in the site's directory, where it would be taken for a process of the upcall.
    programs: Scratch,
}

impl KeptCaches {
    pub(crate) fn new(realm: &Realm) -> Self {
        Self::with(realm, "")
    }

    /// With further settings of the table `agent`.
    pub(crate) fn with(realm: &Realm, settings: &str) -> Self {
        let site = Site::new(realm);
        let programs = Scratch::new();
        install(agent_program(), &programs.path("lgss_agent"), 0o711);
        install(env!("CARGO_BIN_EXE_lgss-probe"), &programs.path("probe"), 0o755);
        site.add_settings(&format!("[agent]\nstorage = \"keyring\"\n{settings}"));
        site.open_log();
        let kept = Self { _ring: PersistentRing(site.uid()), site, programs };
        kept.site.libdefaults(&format!("kcm_socket = {}", kept.socket("kcm.socket").display()));
        kept
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.site.path("user").join(name)
    }

    /// The agent's command line, as the user.
    fn words(&self, socket: &str) -> Vec<String> {
        let uid = self.site.uid();
        let ids = [
            format!("--reuid={uid}"),
            format!("--regid={uid}"),
            "--clear-groups".to_owned(),
            "--".to_owned(),
        ];
        let config = self.site.path("lgss.toml").display().to_string();
        let agent = self.programs.path("lgss_agent").display().to_string();
        let words = [agent, "--config".to_owned(), config, "--socket".to_owned()];
        [&["setpriv".to_owned()][..], &ids, &words, &[self.socket(socket).display().to_string()]].concat()
    }

    /// Starts an agent, which has read what is stored.
    pub(crate) fn agent(&self) -> Daemon {
        self.agent_at("kcm.socket")
    }

    /// The same at another socket.
    pub(crate) fn agent_at(&self, socket: &str) -> Daemon {
        let words = self.words(socket);
        let mut program = command(&words[0]);
        program.args(&words[1..]);
        let mut daemon = Daemon::start(program, &self.site.path(""), "agent.log");
        wait_for("an agent", SOON, || {
            if let Some(status) = daemon.ended() {
                let said = fs::read_to_string(self.site.path("agent.log")).unwrap_or_default();
                panic!("no agent: {status}: {said}");
            }
            self.try_to_connect(socket)
        });
        daemon
    }

    /// Starts one that does not serve; returns what it says.
    pub(crate) fn refused_agent(&self) -> String {
        let words = self.words("kcm.socket");
        let mut program = command(&words[0]);
        run(program.args(&words[1..]), "").unwrap_err()
    }

    /// Starts one that is killed at its call of this number.
    pub(crate) fn struck_agent(&self, instance: &str) -> Daemon {
        let mut program = command(self.programs.path("probe"));
        program.arg("strike").arg(self.site.path("killed")).arg(instance).args(self.words("kcm.socket"));
        Daemon::start(program, &self.site.path(""), "killer.log")
    }

    /// What the killer has to say of it, once it has ended.
    pub(crate) fn struck(&self, instance: &str) -> String {
        wait_for("the killer's word", SOON, || {
            fs::read_to_string(self.site.path("killed").join(instance)).ok()
        })
    }

    /// Whether the killer has spoken.
    pub(crate) fn has_ended(&self, instance: &str) -> bool {
        self.site.path("killed").join(instance).exists()
    }

    /// Ends the agents.
    pub(crate) fn end_agents(&self, signal: Signal) {
        let exe = self.programs.path("lgss_agent");
        for process in Process::all().into_iter().filter(|process| process.exe == exe) {
            // It may have ended meanwhile.
            let _ = kill(process.pid, signal);
        }
    }

    /// A connection of the user's.
    #[track_caller]
    pub(crate) fn connect(&self) -> KcmClient {
        self.connect_to("kcm.socket")
    }

    /// The same to another socket.
    #[track_caller]
    pub(crate) fn connect_to(&self, socket: &str) -> KcmClient {
        wait_for("a connection", SOON, || self.try_to_connect(socket))
    }

    /// The same, which serves.
    pub(crate) fn try_to_connect(&self, socket: &str) -> Option<KcmClient> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut program = command_as(self.site.uid(), self.programs.path("probe"));
        program.arg("relay").arg(self.socket(socket)).stdin(Stdio::from(OwnedFd::from(theirs)));
        let mut relay = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Its end is seen only when nobody else has that side of the connection.
        drop(program);
        // It ends with the connection.
        std::thread::spawn(move || relay.wait());
        let mut client = KcmClient::over(ours);
        client.try_to(0, &[]).map(|_| client)
    }

    /// What the user's program prints that succeeds.
    #[track_caller]
    pub(crate) fn done(&self, line: &str) -> String {
        let log = || self.site.log.lines();
        self.attempt(line).unwrap_or_else(|said| panic!("{line}: {said}; {:#?}", log()))
    }

    /// The same, as an error if it fails.
    pub(crate) fn attempt(&self, line: &str) -> Result<String, String> {
        let mut program = command_as(self.site.uid(), "sh");
        program.args(["-c", line]).env("KRB5_CONFIG", self.site.path("krb5.conf"));
        run(program.env("KRB5CCNAME", "KCM:"), &format!("{PASSWORD}\n"))
    }

    /// A shell's commands with `$p`, the persistent keyring, and `$r`, the agent's in it.
    #[track_caller]
    pub(crate) fn in_keyring(&self, commands: &str) -> String {
        let script = format!("{IN_KEYRING}{commands}");
        let mut program = command_as(self.site.uid(), "keyctl");
        program.args(["session", "-", "sh", "-c", &script]);
        run(&mut program, "").unwrap_or_else(|said| panic!("{commands}: {said}"))
    }
}
