//! A daemon that keeps credential caches (KCM) for one site, on its own socket: SSSD's, Heimdal's or ours.

use super::agent::agent_program;
use super::process::{Daemon, command, run};
use super::realm::PASSWORD;
use super::scratch::Scratch;
use super::site::{Site, install};
use super::wait::wait_for;
use super::writers::HEIMDAL;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// SSSD's database and logs stay in a private mount namespace, where Heimdal's programs also look for this socket.
const SSSD: &str = "for d in /etc/sssd /var/lib/sss /var/log/sssd /run; do mount -t tmpfs lgss-test $d; done && \
    mkdir -p /var/lib/sss/db /var/lib/sss/secrets /run/sssd && cp sssd.conf /etc/sssd/ && chmod 600 /etc/sssd/sssd.conf && \
    ln -s \"$1\" /run/.heim_org.h5l.kcm-socket && \
    sssd --genconf-section=kcm; exec /usr/libexec/sssd/sssd_kcm --uid 0 --gid 0 --logger=stderr";
/// Heimdal's daemon has its socket in /run, and cannot be told another place.
const HEIMDALS: &str = "mount --bind \"$1\" /run && exec \"$2\"/sbin/kcm";
/// Ours is the user's own process. Heimdal's programs look for its socket in /run.
const OURS: &str = "mount -t tmpfs lgss-test /run && ln -s \"$1\" /run/.heim_org.h5l.kcm-socket && \
    exec setpriv --reuid=\"$3\" --regid=\"$3\" --clear-groups -- \
    \"$4\"/lgss_agent --config \"$PWD/lgss.toml\" --socket \"$1\"";

/// For tests of several types of caches: the default cache of ours.
pub(crate) const OUR_KCM: &str = "the user's agent";

/// Ends on drop.
#[derive(Debug)]
pub(crate) struct Kcm {
    daemon: Daemon,
    /// Where it takes connections.
    pub(crate) socket: PathBuf,
    /// Where ours was installed; removed after the daemon's end.
    _program: Option<Scratch>,
}

impl Kcm {
    /// Starts SSSD's daemon and adds it to the site's krb5.conf.
    pub(crate) fn start(site: &Site) -> Self {
        let socket = site.path("kcm.socket");
        let config = format!("[sssd]\nservices =\n[kcm]\nsocket_path = {}\n", socket.display());
        fs::write(site.path("sssd.conf"), config).unwrap();
        Self::start_with(site, SSSD, [&socket, &socket], takes_connections)
    }

    /// Starts Heimdal's daemon and adds it to the site's krb5.conf.
    pub(crate) fn start_heimdals(site: &Site) -> Self {
        let run = site.path("kcm-run");
        fs::create_dir(&run).unwrap();
        Self::start_with(site, HEIMDALS, [&run, &run.join(".heim_org.h5l.kcm-socket")], takes_connections)
    }

    /// Starts `lgss_agent` with the site's settings and adds it to the site's krb5.conf.
    pub(crate) fn start_agent(site: &Site) -> Self {
        // Not in the site's directory, where it would be taken for a process of the upcall.
        let program = Scratch::new();
        install(agent_program(), &program.path("lgss_agent"), 0o711);
        site.open_log();
        let socket = site.path("user").join("kcm.socket");
        let script = OURS.replace("$4", program.path("").to_str().unwrap());
        let kcm = Self::start_with(site, &script, [&socket, &socket], is_listening);
        Self { _program: Some(program), ..kcm }
    }

    fn start_with(
        site: &Site,
        script: &str,
        [first, socket]: [&PathBuf; 2],
        ready: fn(&Path) -> bool,
    ) -> Self {
        site.libdefaults(&format!("kcm_socket = {}", socket.display()));
        let mut unshare = command("unshare");
        unshare
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(first)
            .arg(HEIMDAL)
            .arg(site.uid().to_string());
        let mut daemon = Daemon::start(unshare, &site.path(""), "kcm.log");
        wait_for("the KCM daemon", Duration::from_secs(15), || {
            if daemon.ended().is_some() {
                panic!("no KCM daemon: {}", fs::read_to_string(site.path("kcm.log")).unwrap_or_default());
            }
            ready(socket).then_some(())
        });
        Self { daemon, socket: socket.clone(), _program: None }
    }

    /// The daemon's process, for signals.
    pub(crate) fn pid(&self) -> Pid {
        self.daemon.pid()
    }

    /// The daemon stops: its socket takes requests, and nobody answers.
    pub(crate) fn silence(&self) {
        self.daemon.signal(Signal::SIGSTOP);
    }

    /// Waits until somebody's connection stays in the silent daemon's queue.
    #[track_caller]
    pub(crate) fn wait_until_asked(&self) {
        // State 2 of /proc/net/unix: connected, and not yet accepted.
        let (state, path) = (Some("02"), self.socket.to_str().unwrap());
        wait_for("a question to the silent daemon", Duration::from_secs(20), || {
            let sockets = fs::read("/proc/net/unix").unwrap();
            let sockets = String::from_utf8_lossy(&sockets);
            let mut fields = sockets.lines().map(|line| line.split_whitespace());
            fields.any(|fields| fields.clone().nth(5) == state && fields.last() == Some(path)).then_some(())
        });
    }

    /// The daemon continues.
    pub(crate) fn wake(&self) {
        self.daemon.signal(Signal::SIGCONT);
    }

    /// Runs a program as the site's user, in the namespace where Heimdal's programs find the socket. Returns its output
    /// if it succeeded.
    pub(crate) fn run(&self, site: &Site, words: &[String]) -> Result<String, String> {
        let mut nsenter = command("nsenter");
        nsenter.arg(format!("--mount=/proc/{}/ns/mnt", self.daemon.pid()));
        nsenter.args(["--", "setpriv", "--clear-groups"]);
        nsenter.arg(format!("--reuid={}", site.uid())).arg(format!("--regid={}", site.uid()));
        nsenter.arg("--").args(words).env("KRB5_CONFIG", site.path("krb5.conf"));
        run(&mut nsenter, &format!("{PASSWORD}\n"))
    }
}

fn takes_connections(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// Whether somebody listens at the socket. Ours would log a connection of root's.
fn is_listening(socket: &Path) -> bool {
    // Flag 0x10000 in the fourth field of /proc/net/unix: it listens (SO_ACCEPTCON).
    let sockets = fs::read("/proc/net/unix").unwrap();
    let sockets = String::from_utf8_lossy(&sockets);
    let mut fields = sockets.lines().map(|line| line.split_whitespace());
    fields
        .any(|mut fields| fields.clone().nth(3) == Some("00010000") && fields.next_back() == socket.to_str())
}
