//! `lgss_kcm` under a service manager: started as its own user with three capabilities, with the socket and kept doors passed to it.
//! The test is the manager.

use crate::support::local_kcm::LocalKcm;
use crate::support::process::command;
use crate::support::shared::Shared;
use crate::support::wait::wait_for;
use lgss::private_to_lgss::sys::passing::take;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

crate::trials![
    a_manager_keeps_the_doors_and_a_killed_server_loses_no_agent,
    a_door_that_is_left_is_given_back,
    with_a_capability_too_few_it_does_not_start,
];

/// What systemd gives by AmbientCapabilities.
const CAPABILITIES: &str = "+setuid,+setgid,+setpcap";

/// The manager's side.
struct Manager {
    socket: UnixListener,
    notices: UnixDatagram,
    name: PathBuf,
}

impl Manager {
    /// Starts `lgss_kcm` with its socket.
    fn start() -> (Self, LocalKcm) {
        let mut made = None;
        let kcm = LocalKcm::start_by("leaves", |words| {
            let manager = Self::new(words);
            let command = manager.command(words, CAPABILITIES, Vec::new());
            made = Some(manager);
            command
        });
        (made.unwrap(), kcm)
    }

    fn new(words: &[String]) -> Self {
        let socket = PathBuf::from(words.iter().skip_while(|word| *word != "--socket").nth(1).unwrap());
        let name = socket.with_file_name("notify");
        let notices = UnixDatagram::bind(&name).unwrap();
        fs::set_permissions(&name, fs::Permissions::from_mode(0o666)).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        Self { socket: listener, notices, name }
    }

    /// The command for the server with its socket and at most one door.
    fn command(&self, words: &[String], capabilities: &str, doors: Vec<(String, OwnedFd)>) -> Command {
        let user = words.iter().skip_while(|word| *word != "--user").nth(1).unwrap();
        let names: String = doors.iter().map(|(name, _)| format!(":{name}")).collect();
        // Descriptors come as standard ones, which no other test's process inherits.
        let script = format!(
            "exec 3<&0 4<&1 0</dev/null 1>/dev/null; [ {count} = 2 ] || exec 4<&-; \
             export LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES=lgss-kcm.socket{names}; exec \"$@\"",
            count = 1 + doors.len()
        );
        let mut command = command("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={user}"), format!("--groups={user}")]);
        command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
        command.args(["sh", "-c", &script, "sh"]).args(words).env("NOTIFY_SOCKET", &self.name);
        command.stdin(Stdio::from(OwnedFd::from(self.socket.try_clone().unwrap())));
        let door = doors.into_iter().next().map(|(_, door)| Stdio::from(door));
        command.stdout(door.unwrap_or_else(Stdio::null));
        command
    }

    /// The next notice, with the descriptors that came with it.
    #[track_caller]
    fn notice(&self) -> (String, Vec<OwnedFd>) {
        wait_for("a notice", Duration::from_secs(10), || {
            let mut buffer = [0; 200];
            match take(self.notices.as_fd(), &mut buffer) {
                Ok((length, descriptors)) => {
                    Some((String::from_utf8_lossy(&buffer[..length]).into_owned(), descriptors))
                }
                Err(errno) => {
                    assert_eq!(errno, Errno::EAGAIN);
                    None
                }
            }
        })
    }

    #[track_caller]
    fn expect(&self, text: &str) -> Vec<OwnedFd> {
        let (told, descriptors) = self.notice();
        assert_eq!(told, text);
        descriptors
    }
}

fn a_manager_keeps_the_doors_and_a_killed_server_loses_no_agent(_: &Shared) {
    let (manager, mut kcm) = Manager::start();
    let user = kcm.user();
    manager.expect("READY=1\n");
    let agent = kcm.ask(user).pid();
    let mut kept = manager.expect(&format!("FDSTORE=1\nFDNAME=agent-{user}\n"));
    assert_eq!(kept.len(), 1);
    for (signal, notice) in [(Signal::SIGKILL, None), (Signal::SIGTERM, Some("STOPPING=1\n"))] {
        let acceptor = kcm.acceptor();
        kcm.daemon.signal(signal);
        wait_for("its end", Duration::from_secs(10), || kcm.daemon.ended());
        wait_for("the acceptor's end", Duration::from_secs(10), || {
            (!std::path::Path::new(&format!("/proc/{acceptor}/exe")).exists()).then_some(())
        });
        notice.map(|notice| manager.expect(notice));
        let again = kept[0].try_clone().unwrap();
        kcm.start_again(|words| manager.command(words, CAPABILITIES, vec![(format!("agent-{user}"), again)]));
        manager.expect("READY=1\n");
        assert_eq!(kcm.ask(user).pid(), agent, "after {signal}");
    }
    // It still knows how many connections the agent has got.
    kcm.let_leave();
    manager.expect(&format!("FDSTOREREMOVE=1\nFDNAME=agent-{user}\n"));
    kept.clear();
    kcm.wait_for_agents(0);
}

fn a_door_that_is_left_is_given_back(_: &Shared) {
    let (manager, kcm) = Manager::start();
    let user = kcm.user();
    kcm.let_leave();
    manager.expect("READY=1\n");
    for _ in 0..5 {
        kcm.ask(user);
        let kept = manager.expect(&format!("FDSTORE=1\nFDNAME=agent-{user}\n"));
        manager.expect(&format!("FDSTOREREMOVE=1\nFDNAME=agent-{user}\n"));
        // The agent waits for the last end to be closed.
        assert_eq!(kcm.agents().len(), 1);
        drop(kept);
        kcm.wait_for_agents(0);
    }
}

fn with_a_capability_too_few_it_does_not_start(_: &Shared) {
    let (manager, mut kcm) = Manager::start();
    kcm.daemon.signal(Signal::SIGTERM);
    wait_for("its end", Duration::from_secs(10), || kcm.daemon.ended());
    for (capabilities, said) in [
        ("+setgid,+setpcap", "with CAP_SETUID, CAP_SETGID and CAP_SETPCAP"),
        ("+setuid,+setpcap", "rights: EPERM"),
        ("+setuid,+setgid", "rights: EPERM"),
    ] {
        let mut started = manager.command(&kcm.words(), capabilities, Vec::new());
        let output = started.stderr(Stdio::piped()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(said), "{capabilities}: {told}");
    }
}
