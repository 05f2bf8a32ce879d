//! A program of a user's that uses `lgss::security` (tests/probe/contexts.rs), command by command.

use super::process::command_as;
use super::server::Target;
use super::site::{Site, install};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Ended when dropped, and at the latest with the test.
#[derive(Debug)]
pub(crate) struct ContextProgram {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl ContextProgram {
    /// A program with contexts of its own has a session of its own; those that share them have that of the tests, which is
    /// root's, so that the user keyring is what they share.
    pub(crate) fn start(site: &Site, target: &Target, words: &[&str]) -> Self {
        let [keeping, options @ ..] = words else { panic!("own or shared?") };
        let program = Self::probe(site);
        let mut command = match *keeping {
            "own" => {
                let mut command = command_as(site.uid(), "/usr/bin/keyctl");
                command.args(["session", "-"]).arg(&program);
                command
            }
            _ => command_as(site.uid(), &program),
        };
        command.args(["contexts", keeping]);
        command.args([&target.service, &target.channel()]).args(options);
        Self::spawn(command)
    }

    fn probe(site: &Site) -> PathBuf {
        let program = site.path("probe");
        if !program.exists() {
            install(env!("CARGO_BIN_EXE_lgss-probe"), &program, 0o755);
        }
        program
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// A program that makes calls, with a client for each of these protections (tests/probe/rpc_calls.rs).
    pub(crate) fn calling(site: &Site, target: &Target, protections: &[&str]) -> Self {
        let mut command = command_as(site.uid(), "/usr/bin/keyctl");
        command.args(["session", "-"]).arg(Self::probe(site)).arg("calls");
        command.args([&target.service, &target.channel()]).args(protections);
        Self::spawn(command)
    }

    /// Gives a command and returns the answer.
    pub(crate) fn obey(&mut self, line: &str) -> String {
        self.order(line);
        self.next_line()
    }

    pub(crate) fn order(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn next_line(&mut self) -> String {
        let mut answer = String::new();
        assert_ne!(self.output.read_line(&mut answer).unwrap(), 0, "the program has ended");
        answer.trim_end().to_owned()
    }

    /// A command whose answer is a context: its key's number.
    #[track_caller]
    pub(crate) fn context(&mut self, line: &str) -> i32 {
        let answer = self.obey(line);
        let words: Vec<&str> = answer.split(' ').collect();
        match words.as_slice() {
            ["context", serial, _] => serial.parse().unwrap(),
            _ => panic!("{line}: {answer}"),
        }
    }
}

impl Drop for ContextProgram {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
