//! Files that an attacker puts where the host has its configuration, in a mount namespace of its own: rule S4.

use crate::attack::{Attack, End, Scene, World};
use crate::busy::Busy;
use crate::plan::{PlantedFile, Step};
use std::fs;

pub(crate) fn attacks() -> Vec<Attack> {
    let heeded = |name: &str, path: &'static str, content: &'static str| Attack {
        worlds: &[World::UserNamespace],
        ..Attack::asking("S4", name, End::OwnContext, move |scene| {
            let mut steps = scene.attacker();
            steps.push(planted(path, content));
            scene.site.ask_after(steps, scene.honest_request(""))
        })
    };
    vec![
        heeded("an own krb5.conf", "/etc/krb5.conf", "[libdefaults]\n default_realm = EVIL.TEST\n"),
        heeded("own rules of request-key(8)", "/etc/request-key.conf", "create user * * /bin/false\n"),
        Attack {
            worlds: &[World::UserNamespace],
            ..Attack::checked("S4", "an own /etc", "no process of ours sees it", stay_outside)
        },
    ]
}

/// Hides /etc but for this file, which is root's in the namespace.
fn planted(path: &str, content: &str) -> Step {
    let file =
        PlantedFile { path: path.to_owned(), owner: 0, mode: 0o644, content: content.as_bytes().to_vec() };
    Step::PrivateDirectory { directory: "/etc".to_owned(), files: vec![file] }
}

/// Libraries, name service, users, host names: all that is read below /etc is read in our mount namespace.
fn stay_outside(scene: &Scene<'_>) {
    let busy = Busy::of(scene, &[], vec![planted("/etc/ld.so.preload", "/etc/evil.so\n")]);
    let ours = fs::read_link("/proc/self/ns/mnt").unwrap();
    for process in [&busy.worker, &busy.monitor] {
        assert_eq!(fs::read_link(format!("/proc/{}/ns/mnt", process.pid)).unwrap(), ours);
        assert_eq!(fs::read_link(format!("/proc/{}/root", process.pid)).unwrap().to_str(), Some("/"));
    }
    busy.expect_the_worker_to_report();
}
