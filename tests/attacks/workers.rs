//! What an attacker does to the processes of its own upcall, and to a victim's key: rules S10, S13 and S16.

use crate::attack::Attack;
use crate::busy::Busy;
use crate::plan::{Finding, Step};
use crate::support::probe::{Probe, as_user, probe};
use crate::support::site::Site;
use nix::errno::Errno;
use std::process::Output;

pub(crate) fn attacks() -> Vec<Attack> {
    [signals(), looks(), to_keys()].into_iter().flatten().collect()
}

/// Signals to the processes.
fn signals() -> Vec<Attack> {
    let signal = |name: &str, number: &'static str| {
        Attack::checked("S13", name, "no effect", move |scene| {
            let busy = Busy::new(scene);
            let pid = busy.worker.pid.to_string();
            assert!(scene.run("kill -$1 $2", &[number, &pid]).status.success());
            assert_eq!(scene.site.wait_for_process("lgss_negotiate").pid, busy.worker.pid, "it has ended");
            busy.expect_the_worker_to_report();
        })
    };
    vec![
        signal("ask the worker to end", "TERM"),
        signal("have the worker leave a core", "QUIT"),
        signal("have the worker abort", "ABRT"),
        signal("interrupt the worker", "INT"),
        Attack::checked("S13", "kill the worker", "EIO at once", |scene| {
            let busy = Busy::new(scene);
            assert!(scene.run("kill -KILL $1", &[&busy.worker.pid.to_string()]).status.success());
            assert_eq!(busy.end().errno(), Errno::EIO);
        }),
        Attack::checked("S13", "kill the monitor", "EPERM", |scene| {
            let busy = Busy::new(scene);
            expect_denied(&scene.run("kill -KILL $1", &[&busy.monitor.pid.to_string()]));
            busy.expect_the_worker_to_report();
        }),
    ]
}

/// Looks into the processes.
fn looks() -> Vec<Attack> {
    let inside = |rule, name: &str, script: &'static str| {
        Attack::checked(rule, name, "EPERM or EACCES", move |scene| {
            let busy = Busy::new(scene);
            for process in [&busy.worker, &busy.monitor] {
                expect_denied(&scene.run(script, &[&process.pid.to_string()]));
            }
            // On a process of the attacker's own the script works.
            let own = scene.run(&format!("set -- $$; {script}"), &[]);
            assert!(own.status.success(), "{script}: {own:?}");
            busy.expect_the_worker_to_report();
        })
    };
    vec![
        Attack::checked(
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
                busy.expect_the_worker_to_report();
            },
        ),
        inside("S10", "read the environment of the processes", "cat /proc/$1/environ"),
        inside("S10", "read the map of the processes' memory", "cat /proc/$1/maps"),
        inside("S10", "list the files of the processes", "ls /proc/$1/fd/"),
        inside("S10", "read the system call of the processes", "cat /proc/$1/syscall"),
        inside("S10", "see the root directory of the processes", "ls /proc/$1/root/"),
        Attack::checked("S10", "enter the namespaces of the processes", "EPERM or EACCES", |scene| {
            let busy = Busy::new(scene);
            for process in [&busy.worker, &busy.monitor] {
                expect_denied(&scene.run("nsenter -t $1 -p -n true", &[&process.pid.to_string()]));
            }
            busy.expect_the_worker_to_report();
        }),
    ]
}

/// The script was denied what it wanted, and has shown nothing.
#[track_caller]
fn expect_denied(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    let denied = said.contains("Permission denied") || said.contains("Operation not permitted");
    assert!(denied && !output.status.success() && output.stdout.is_empty(), "{output:?}");
}

/// A victim with a context in its session keyring.
fn to_keys() -> Vec<Attack> {
    let act = |name: &str, script: &'static str| {
        Attack::checked("S16", name, "EACCES", move |scene| {
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
            expect_denied(&scene.run(script, &[&serial.to_string()]));
            // On a key of the attacker's own the script works.
            let own = "exec keyctl session - sh -c 'set -- $(keyctl add user control x @s);";
            let own = scene.run(&format!("{own} {script}'"), &[]);
            assert!(own.status.success(), "{script}: {own:?}");
            holder.go_on();
            match holder.rest().last() {
                Some(Finding::Settled { payload: Some(after), .. }) => assert_eq!(after, before),
                other => panic!("{other:?}"),
            }
        })
    };
    vec![
        act("read a victim's context", "keyctl pipe $1"),
        act("describe a victim's context", "keyctl rdescribe $1"),
        act("link a victim's context to one's own keyring", "keyctl link $1 @s"),
        act("overwrite a victim's context", "keyctl update $1 x"),
        act("revoke a victim's context", "keyctl revoke $1"),
        act("invalidate a victim's context", "keyctl invalidate $1"),
        act("let a victim's context expire", "keyctl timeout $1 1"),
        act("take a victim's context", "keyctl chown $1 $(id -u)"),
        act("open a victim's context to all", "keyctl setperm $1 0x3f3f3f3f"),
    ]
}
