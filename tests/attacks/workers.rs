//! What an attacker does to the processes of its own upcall, and to a victim's key: rules S10, S13 and S16.

use crate::attack::{Attack, Scene};
use crate::plan::{Finding, Step};
use crate::support::outcome::Outcome;
use crate::support::probe::{Probe, as_user, probe};
use crate::support::process::Process;
use crate::support::server::Server;
use crate::support::site::Site;
use crate::support::wait::wait_for;
use nix::errno::Errno;
use std::time::Duration;

pub(crate) fn attacks() -> Vec<Attack> {
    [to_processes(), to_keys()].into_iter().flatten().collect()
}

/// A worker of the attacker's that waits for a server.
struct Busy {
    requester: Probe,
    worker: Process,
    monitor: Process,
    server: Server,
}

impl Busy {
    fn new(scene: &Scene<'_>) -> Self {
        let server = Server::silent();
        let mut steps = scene.attacker();
        let request = scene.request_to(&scene.shared.nfs().behind(&server), "busy");
        steps.extend([Step::Request(request), Step::Pause, Step::Settle { within_ms: 30_000 }]);
        let mut requester = Probe::start(&steps);
        let findings = requester.until_pause();
        assert!(matches!(findings.last(), Some(Finding::Requested { serial: Some(_), .. })), "{findings:?}");
        let worker = scene.site.wait_for_process("lgss_negotiate");
        wait_for("the worker at the server", Duration::from_secs(10), || {
            (server.connections() > 0).then_some(())
        });
        let monitor = scene.site.wait_for_process("lgss_keyring");
        Self { requester, worker, monitor, server }
    }

    /// Lets the server go; returns how the key ends.
    fn end(self) -> Outcome {
        let Self { mut requester, server, .. } = self;
        requester.go_on();
        drop(server);
        let findings = requester.rest();
        match findings.last() {
            Some(Finding::Settled { .. }) => {
                let asked = Finding::Requested { serial: Some(1), errno: 0, micros: 0 };
                Outcome::of_any_wait(&[asked, findings.last().unwrap().clone()])
            }
            other => panic!("{other:?}"),
        }
    }
}

fn to_processes() -> Vec<Attack> {
    let signal = |name: &str, number: &'static str| {
        Attack::by_itself("S13", name, "no effect", move |scene| {
            let busy = Busy::new(scene);
            let pid = busy.worker.pid.to_string();
            assert!(scene.run("kill -$1 $2", &[number, &pid]).status.success());
            assert_eq!(scene.site.wait_for_process("lgss_negotiate").pid, busy.worker.pid, "it has ended");
            // The server closes the connection: the worker says so.
            assert_eq!(busy.end().errno(), Errno::EPROTO);
        })
    };
    let inside = |rule, name: &str, script: &'static str| {
        Attack::by_itself(rule, name, "EPERM or EACCES", move |scene| {
            let busy = Busy::new(scene);
            for process in [&busy.worker, &busy.monitor] {
                let output = scene.run(script, &[&process.pid.to_string()]);
                assert!(!output.status.success() && output.stdout.is_empty(), "{script}: {output:?}");
            }
            assert_eq!(busy.end().errno(), Errno::EPROTO);
        })
    };
    vec![
        signal("ask the worker to end", "TERM"),
        signal("have the worker leave a core", "QUIT"),
        signal("have the worker abort", "ABRT"),
        signal("interrupt the worker", "INT"),
        Attack::by_itself("S13", "kill the worker", "EIO at once", |scene| {
            let busy = Busy::new(scene);
            scene.run("kill -KILL $1", &[&busy.worker.pid.to_string()]);
            assert_eq!(busy.end().errno(), Errno::EIO);
        }),
        Attack::by_itself("S13", "kill the monitor", "EPERM", |scene| {
            let busy = Busy::new(scene);
            let output = scene.run("kill -KILL $1", &[&busy.monitor.pid.to_string()]);
            assert!(!output.status.success(), "{output:?}");
            assert_eq!(busy.end().errno(), Errno::EPROTO);
        }),
        Attack::by_itself(
            "S10",
            "trace the worker, open its memory, take its files",
            "EPERM or EACCES",
            |scene| {
                let busy = Busy::new(scene);
                let mut steps = scene.attacker();
                steps.push(Step::LookInto { pid: Some(busy.worker.pid.as_raw()) });
                let Some(Finding::Attempts(attempts)) = probe(&steps).pop() else { panic!("no attempts") };
                let denied = |errno: i32| [Errno::EPERM, Errno::EACCES].contains(&Errno::from_raw(errno));
                assert!(
                    attempts.len() > 3 && attempts.iter().all(|(_, errno)| denied(*errno)),
                    "{attempts:?}"
                );
                assert_eq!(busy.end().errno(), Errno::EPROTO);
            },
        ),
        inside("S10", "read the environment of the processes", "cat /proc/$1/environ"),
        inside("S10", "read the map of the processes' memory", "cat /proc/$1/maps"),
        inside("S10", "list the files of the processes", "ls /proc/$1/fd/"),
        inside("S10", "read the system call of the processes", "cat /proc/$1/syscall"),
        inside("S10", "see the root directory of the processes", "ls /proc/$1/root/"),
        inside("S10", "enter the namespaces of the processes", "nsenter -t $1 -p -n true"),
    ]
}

/// A victim with a context in its session keyring.
fn to_keys() -> Vec<Attack> {
    let act = |name: &str, script: &'static str| {
        Attack::by_itself("S16", name, "EACCES", move |scene| {
            let victim = Site::new(scene.shared.realm());
            victim.ticket(scene.shared.realm());
            let mut steps = as_user(victim.uid());
            steps.extend([
                Step::Request(victim.request(scene.shared.nfs())),
                Step::Settle { within_ms: 30_000 },
            ]);
            steps.extend([Step::Pause, Step::Settle { within_ms: 1000 }]);
            let mut holder = Probe::start(&steps);
            let findings = holder.until_pause();
            let [
                ..,
                Finding::Requested { serial: Some(serial), .. },
                Finding::Settled { payload: Some(before), .. },
            ] = findings.as_slice()
            else {
                panic!("{findings:?}")
            };
            let output = scene.run(script, &[&serial.to_string()]);
            assert!(!output.status.success() && output.stdout.is_empty(), "{script}: {output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied"), "{output:?}");
            holder.go_on();
            match holder.rest().last() {
                Some(Finding::Settled { payload: Some(after), .. }) => assert_eq!(after, before),
                other => panic!("{other:?}"),
            }
        })
    };
    vec![
        act("read a victim's context", "exec keyctl pipe $1"),
        act("describe a victim's context", "exec keyctl rdescribe $1"),
        act("link a victim's context to one's own keyring", "exec keyctl link $1 @s"),
        act("overwrite a victim's context", "exec keyctl update $1 x"),
        act("revoke a victim's context", "exec keyctl revoke $1"),
        act("invalidate a victim's context", "exec keyctl invalidate $1"),
        act("let a victim's context expire", "exec keyctl timeout $1 1"),
        act("take a victim's context", "exec keyctl chown $1 $(id -u)"),
        act("open a victim's context to all", "exec keyctl setperm $1 0x3f3f3f3f"),
    ]
}
