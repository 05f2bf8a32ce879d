//! A place for hooks: settings, a directory of them, a log, and `lgss` to run them with.

use super::log::LogReader;
use super::process::{Process, command, command_as};
use super::scratch::Scratch;
use super::site::{install, install_content};
use super::wait::wait_for;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What a caller learns, whatever is wrong.
pub(crate) const NO_RESULT: &str =
    "the hook does not exist, may not be run, or failed; as root, lgss log has the reason\n";
/// Exit status without a result.
pub(crate) const NO_RESULT_STATUS: i32 = 14;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct HookRun {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl HookRun {
    fn of(output: &Output, began: Instant) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        Self { status: output.status.code(), out, err, took: began.elapsed() }
    }

    /// The result.
    #[track_caller]
    pub(crate) fn result(&self) -> serde_json::Value {
        assert_eq!((self.status, self.err.as_str()), (Some(0), ""), "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }

    /// Panics unless there is no result and no word of the reason.
    #[track_caller]
    pub(crate) fn is_refused(&self, name: &str) {
        assert_eq!((self.status, self.out.as_str()), (Some(NO_RESULT_STATUS), ""), "{self:?}");
        assert_eq!(self.err, format!("lgss: hook {name}: {NO_RESULT}"));
    }
}

/// Removed on drop.
#[derive(Debug)]
pub(crate) struct HookPlace {
    pub(crate) log: LogReader,
    scratch: Scratch,
}

impl HookPlace {
    /// With these lines in `[hooks]`.
    pub(crate) fn new(settings: &str) -> Self {
        let scratch = Scratch::new();
        let place = Self { log: LogReader::bind(&scratch.path("log")), scratch };
        let directory = |name, mode| DirBuilder::new().mode(mode).create(place.path(name)).unwrap();
        directory("run", 0o700);
        directory("site", 0o755);
        directory("site/hooks.d", 0o755);
        let dir = place.path("");
        let dir = dir.display();
        let content = format!(
            "run_dir = \"{dir}run\"\n[log]\nsocket = \"{dir}log\"\n[hooks]\ndirectory = \"{dir}site/hooks.d\"\nuser = \"{}\"\n\
             {settings}\n",
            place.uid()
        );
        fs::write(place.path("lgss.toml"), content).unwrap();
        install(env!("CARGO_BIN_EXE_lgss"), &place.path("lgss"), 0o755);
        place
    }

    /// The uid of hooks.
    pub(crate) fn uid(&self) -> u32 {
        self.scratch.uid()
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.scratch.path(name)
    }

    pub(crate) fn hook(&self, name: &str) -> PathBuf {
        self.path("site/hooks.d").join(name)
    }

    /// A hook in the shell's language.
    pub(crate) fn shell(&self, name: &str, script: &str) -> PathBuf {
        self.script(name, &format!("#!/bin/sh\n{script}\n"))
    }

    /// A hook in Python, which prints `result` in the end.
    pub(crate) fn python(&self, name: &str, script: &str) -> PathBuf {
        let begin =
            "#!/usr/bin/python3 -I\nimport ctypes, json, os, socket, subprocess, sys, time\nresult = {}\n";
        self.script(name, &format!("{begin}{script}\nprint(json.dumps(result))\n"))
    }

    fn script(&self, name: &str, content: &str) -> PathBuf {
        let path = self.hook(name);
        install_content(content, &path, 0o755);
        path
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = command(self.path("lgss"));
        command.args(["hook", "run", "--config"]).arg(self.path("lgss.toml")).arg("--").arg(name);
        command
    }

    /// Runs a hook as root to its end.
    pub(crate) fn run(&self, name: &str) -> HookRun {
        let began = Instant::now();
        HookRun::of(&self.command(name).output().unwrap(), began)
    }

    /// The same by an ordinary user.
    pub(crate) fn run_as(&self, uid: u32, name: &str) -> HookRun {
        let began = Instant::now();
        let mut command = command_as(uid, self.path("lgss"));
        HookRun::of(&command.args(["hook", "run", name]).output().unwrap(), began)
    }

    /// Runs a hook that fails; returns the reason in the log.
    #[track_caller]
    pub(crate) fn refused(&self, name: &str) -> String {
        let of_it = format!("hook {name} asked for by uid 0: ");
        let reasons = || -> Vec<String> {
            let lines = self.log.lines();
            let told = lines.iter().filter_map(|line| Some(line.split_once(&of_it)?.1.to_owned()));
            told.filter(|reason| !reason.starts_with("done in ")).collect()
        };
        let before = reasons().len();
        self.run(name).is_refused(name);
        wait_for("the reason in the log", Duration::from_secs(5), || reasons().get(before).cloned())
    }

    /// Starts a run.
    pub(crate) fn start(&self, name: &str) -> StartedRun {
        let mut command = self.command(name);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        StartedRun { began: Instant::now(), child: Some(command.spawn().unwrap()) }
    }

    /// Processes of hooks.
    pub(crate) fn hooks_running(&self) -> Vec<Process> {
        Process::all().into_iter().filter(|process| process.uid == Some(self.uid())).collect()
    }

    /// Waits until no hook's process is left.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        wait_for("the end of hooks", Duration::from_secs(5), || {
            self.hooks_running().is_empty().then_some(())
        });
    }
}

/// A run under way; killed on drop.
pub(crate) struct StartedRun {
    pub(crate) began: Instant,
    child: Option<Child>,
}

impl StartedRun {
    /// Kills `lgss`.
    pub(crate) fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> HookRun {
        HookRun::of(&self.child.take().unwrap().wait_with_output().unwrap(), self.began)
    }
}

impl Drop for StartedRun {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
