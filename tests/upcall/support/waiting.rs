//! A live worker for a test to examine: its server stays silent.

use super::probe::{Finding, Probe, Step, as_user};
use super::process::Process;
use super::server::Server;
use super::shared::Shared;
use super::site::{Settings, Site};
use super::wait::wait_for;
use std::time::Duration;

/// A requester whose worker waits for a server.
pub(crate) struct Waiting {
    pub(crate) site: Site,
    pub(crate) server: Server,
    pub(crate) worker: Process,
    pub(crate) requester: Probe,
}

impl Waiting {
    #[track_caller]
    pub(crate) fn new(shared: &Shared) -> Self {
        let site = Site::with(shared.realm(), &Settings { round: "20s", ..Default::default() });
        site.ticket(shared.realm());
        let server = Server::silent();
        let mut steps = as_user(site.uid());
        steps.extend([Step::Request(site.request(&shared.nfs().behind(&server))), Step::Pause]);
        steps.push(Step::Settle { within_ms: 30_000 });
        let mut requester = Probe::start(&steps);
        let findings = requester.until_pause();
        assert!(matches!(findings.last(), Some(Finding::Requested { serial: Some(_), .. })), "{findings:?}");
        let worker = site.wait_for_process("lgss_negotiate");
        wait_for("the worker at the server", Duration::from_secs(10), || {
            (server.connections() > 0).then_some(())
        });
        Self { site, server, worker, requester }
    }

    /// The processes of monitor and worker.
    #[track_caller]
    pub(crate) fn processes(&self) -> Vec<Process> {
        let processes = Process::running_from(&self.site.path(""));
        for program in ["lgss_keyring", "lgss_negotiate"] {
            let exe = self.site.path(program);
            assert!(processes.iter().any(|process| process.exe == exe), "no {program}: {processes:?}");
        }
        processes
    }
}
