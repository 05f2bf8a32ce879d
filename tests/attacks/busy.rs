//! An upcall of the attacker's at work: its server stays silent.

use crate::attack::Scene;
use crate::plan::{Finding, Step};
use crate::support::outcome::Outcome;
use crate::support::probe::Probe;
use crate::support::process::{Process, command};
use crate::support::server::Server;
use crate::support::wait::wait_for;
use nix::errno::Errno;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

/// A worker that waits for the server, and its monitor.
pub(crate) struct Busy {
    requester: Probe,
    pub(crate) worker: Process,
    pub(crate) monitor: Process,
    server: Server,
}

impl Busy {
    pub(crate) fn new(scene: &Scene<'_>) -> Self {
        Self::of(scene, &[], Vec::new())
    }

    /// The requester has these variables, `NAME=value`, and has done these steps as the attacker.
    pub(crate) fn of(scene: &Scene<'_>, variables: &[String], done: Vec<Step>) -> Self {
        let server = Server::silent();
        let mut steps = scene.attacker();
        steps.extend(done);
        let request = scene.request_to(&scene.shared.nfs().behind(&server), "busy");
        steps.extend([Step::Request(request), Step::Pause, Step::Settle { within_ms: 30_000 }]);
        // For the program alone: the loader of those that start it would heed them, too.
        let mut program = command("env");
        program.args(variables).arg(env!("CARGO_BIN_EXE_lgss-probe")).stderr(Stdio::null());
        let mut requester = Probe::start_with(program, &steps);
        let findings = requester.until_pause();
        assert!(matches!(findings.last(), Some(Finding::Requested { serial: Some(_), .. })), "{findings:?}");
        let worker = scene.site.wait_for_process("lgss_negotiate");
        wait_for("the worker at the server", Duration::from_secs(10), || {
            (server.connections() > 0).then_some(())
        });
        let monitor = scene.site.wait_for_process("lgss_keyring");
        Self { requester, worker, monitor, server }
    }

    /// A file of /proc of each process.
    pub(crate) fn read(&self, name: &str) -> [Vec<u8>; 2] {
        [&self.worker, &self.monitor]
            .map(|process| fs::read(format!("/proc/{}/{name}", process.pid)).unwrap())
    }

    /// The same of the requester.
    pub(crate) fn of_the_requester(&self, name: &str) -> Vec<u8> {
        fs::read(format!("/proc/{}/{name}", self.requester.pid())).unwrap()
    }

    /// Lets the server go; returns how the key ends.
    pub(crate) fn end(self) -> Outcome {
        let Self { mut requester, server, .. } = self;
        requester.go_on();
        drop(server);
        let findings = requester.rest();
        let Some(settled @ Finding::Settled { .. }) = findings.last() else { panic!("{findings:?}") };
        let asked = Finding::Requested { serial: Some(1), errno: 0, micros: 0 };
        Outcome::of_any_wait(&[asked, settled.clone()])
    }

    /// The server closes the connection, and the worker says so.
    pub(crate) fn expect_the_worker_to_report(self) {
        assert_eq!(self.end().errno(), Errno::EPROTO);
    }
}
