//! A group of operators with a helper of its own: `lgss`, `lgss_sk` and `lgss_helper` in the site's directory.

use super::site::{Site, install};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The version that the programs under test are of.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Nobody's group, in place of a primary one.
const NOGROUP: u32 = 65534;

/// The site's operators. One of them has the uid of the site's machine account; the site's user is none.
#[derive(Debug)]
pub(crate) struct Operators<'a> {
    site: &'a Site,
}

/// Whether somebody is in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    Member,
    Outsider,
}

impl<'a> Operators<'a> {
    /// Installs the programs: the helper with mode 4750, root's and the group's.
    pub(crate) fn of(site: &'a Site) -> Self {
        // Those of a release, where benchmarks name them.
        let named = |variable, built: &str| std::env::var(variable).unwrap_or(built.to_owned());
        let helper = named("LGSS_HELPER_BIN", env!("CARGO_BIN_EXE_lgss_helper"));
        let lgss = named("LGSS_BIN", env!("CARGO_BIN_EXE_lgss"));
        for (program, name) in [
            (lgss.as_str(), "lgss"),
            (env!("CARGO_BIN_EXE_lgss_sk"), "lgss_sk"),
            (helper.as_str(), "lgss_helper"),
        ] {
            install(program, &site.path(name), 0o755);
        }
        for directory in ["dev", "varlog", "empty"] {
            fs::create_dir(site.path(directory)).unwrap();
        }
        let operators = Self { site };
        operators.set_mode(0o4750);
        operators
    }

    /// Gives the helper to root and the group, with this mode.
    pub(crate) fn set_mode(&self, mode: u32) {
        chown(self.helper(), Some(0), Some(self.group())).unwrap();
        fs::set_permissions(self.helper(), Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn helper(&self) -> PathBuf {
        self.site.path("lgss_helper")
    }

    /// Gid of the group.
    pub(crate) fn group(&self) -> u32 {
        self.site.machine_uid()
    }

    /// Uid of an operator.
    pub(crate) fn uid(&self) -> u32 {
        self.site.machine_uid()
    }

    /// What those programs find in /etc/lgss.
    pub(crate) fn settings(&self) -> PathBuf {
        self.site.path("settings")
    }

    /// Where the system log's files are for those programs.
    pub(crate) fn log_files(&self) -> PathBuf {
        self.site.path("varlog")
    }

    /// A program as an operator, or as the site's user, who is none. The system log is the site's, its files are in
    /// [`Operators::log_files`], and there is no journal.
    pub(crate) fn command(&self, membership: Membership, program: impl AsRef<Path>) -> Command {
        let (uid, groups) = match membership {
            Membership::Member => (self.uid(), format!("--groups={}", self.group())),
            Membership::Outsider => (self.site.uid(), "--clear-groups".to_owned()),
        };
        self.command_of([format!("--reuid={uid}"), format!("--regid={NOGROUP}"), groups], program)
    }

    /// The same with these options of setpriv(1).
    pub(crate) fn command_of<const N: usize>(
        &self,
        options: [String; N],
        program: impl AsRef<Path>,
    ) -> Command {
        const PREPARE: &str = "
            set -e
            mount -t tmpfs none dev
            for node in null zero full random urandom tty; do
                touch dev/$node; mount --bind /dev/$node dev/$node
            done
            touch dev/log; mount --bind log dev/log
            mount --bind varlog /var/log
            mount -t tmpfs -o mode=0755 none /run
            mount --rbind dev /dev
            if [ -d settings ]; then
                mount -t tmpfs none empty
                mkdir -m 0755 empty/upper empty/work
                cp -a settings empty/upper/lgss
                mount -t overlay -o lowerdir=/etc,upperdir=empty/upper,workdir=empty/work overlay /etc
            fi
            exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", PREPARE, "sh", "setpriv"]);
        command.args(options).args(["--pdeathsig", "KILL", "--"]).arg(program.as_ref());
        command.current_dir(self.site.path("")).stdin(Stdio::null());
        command
    }

    /// Runs a script in which `lgss` and `lgss_sk` are the site's.
    pub(crate) fn run(&self, membership: Membership, script: &str) -> Output {
        let mut command = self.command(membership, "/bin/sh");
        let functions = format!(
            "lgss() {{ {lgss} \"$@\"; }}; lgss_sk() {{ {sk} \"$@\"; }}",
            lgss = self.site.path("lgss").display(),
            sk = self.site.path("lgss_sk").display()
        );
        command.args(["-c", &format!("{functions}\n{script}")]).output().unwrap()
    }

    /// Starts the helper as an operator, the test in the place of `lgss`.
    pub(crate) fn helper_by(&self, membership: Membership) -> Conversation {
        Conversation::with(self.command(membership, self.helper()))
    }
}

/// A conversation with a helper, byte by byte.
#[derive(Debug)]
pub(crate) struct Conversation {
    child: Child,
    reader: BufReader<UnixStream>,
}

impl Conversation {
    /// Starts the program with one end of a socket as its input and output.
    pub(crate) fn with(mut command: Command) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let input = OwnedFd::from(theirs.try_clone().unwrap());
        let child = command.stdin(input).stdout(OwnedFd::from(theirs)).stderr(Stdio::null()).spawn().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        ours.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { child, reader: BufReader::new(ours) }
    }

    pub(crate) fn socket(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    /// Writes a line; whether anybody reads it, the answer shows.
    pub(crate) fn say(&mut self, line: &str) -> &mut Self {
        let _ = self.reader.get_ref().write_all(format!("{line}\n").as_bytes());
        self
    }

    pub(crate) fn ping(&mut self) -> &mut Self {
        self.say(&format!(r#"{{"method":"ping","payload":{{"version":"{VERSION}"}}}}"#))
    }

    /// A line; empty at the end.
    pub(crate) fn heard(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).map_or(String::new(), |_| line.trim_end().to_owned())
    }

    /// Pings, and takes the answer.
    #[track_caller]
    pub(crate) fn greeted(mut self) -> Self {
        let answer = self.ping().heard();
        assert_eq!(answer, format!(r#"{{"answer":{{"version":"{VERSION}"}}}}"#));
        self
    }

    /// The helper's process: unshare(1) and setpriv(1) have become it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, with what it still said.
    pub(crate) fn end(mut self) -> (String, Option<i32>) {
        let rest = self.heard();
        let _ = self.reader.get_ref().shutdown(std::net::Shutdown::Both);
        (rest, self.child.wait().unwrap().code())
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
