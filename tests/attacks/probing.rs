//! What answers tell about things that the attacker may not see: rule S15. Each asks twice, once about what there is and
//! once about what there is not; both must end alike.

use crate::attack::{Attack, Scene};
use crate::caches::Victim;
use crate::support::outcome::Outcome;
use crate::support::process::{command_as, succeed};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;

const ALIKE: &str = "both answers are alike";

pub(crate) fn attacks() -> Vec<Attack> {
    let alike = |name: &str, fields: fn(&Scene<'_>) -> [String; 2]| {
        Attack::checked("S15", name, ALIKE, move |scene| expect_alike(scene, fields(scene)))
    };
    vec![
        alike("find out by a cache's name whether a file of root's exists", |scene| {
            closed(scene, &["there"]);
            let name = |file: &str| format!("cache=FILE:{}", scene.site.path("closed").join(file).display());
            [name("there"), name("not-there")]
        }),
        alike("the same of a directory, by a collection's name", |scene| {
            closed(scene, &["there"]);
            DirBuilder::new().create(scene.site.path("closed/directory")).unwrap();
            let name = |file: &str| format!("cache=DIR:{}", scene.site.path("closed").join(file).display());
            [name("directory"), name("not-there")]
        }),
        alike("the same by a link of its own", |scene| {
            closed(scene, &["there"]);
            let link = |name: &str| {
                let link = format!("{}.{name}", scene.site.default_cache().display());
                let closed = scene.site.path("closed").join(name);
                succeed(command_as(scene.site.uid(), "ln").arg("-s").arg(closed).arg(&link), "");
                format!("cache=FILE:{link}")
            };
            [link("there"), link("not-there")]
        }),
        alike("find out by a process's root directory whether a file exists in a container", |_| {
            // This process is root's.
            let name = |file: &str| format!("cache=FILE:/proc/{}/root/{file}", std::process::id());
            [name("etc/passwd"), name("etc/not-there")]
        }),
        Attack::checked("S15", "find out by its principal whether a user has a ticket", ALIKE, |scene| {
            let victim = Victim::new(scene);
            let realm = scene.shared.realm().name();
            let names = [victim.principal(), "nobody-has-this-name"];
            expect_alike(scene, names.map(|name| format!("principal={name}@{realm}")));
        }),
        alike("find out by its name whether a user has a persistent keyring", |scene| {
            let victim = scene.site.machine_uid();
            let link = command_as(victim, "keyctl").args(["get_persistent", "@s"]).output().unwrap().status;
            assert!(link.success(), "no persistent keyring");
            [victim, victim + 1_000_000].map(|uid| format!("cache=KEYRING:persistent:{uid}"))
        }),
    ]
}

/// A directory of root's that nobody else may search, and files in it.
fn closed(scene: &Scene<'_>, files: &[&str]) {
    DirBuilder::new().mode(0o700).create(scene.site.path("closed")).unwrap();
    for file in files {
        fs::copy(scene.site.default_cache(), scene.site.path("closed").join(file)).unwrap();
    }
}

/// Asks with each, having no ticket itself.
fn expect_alike(scene: &Scene<'_>, fields: [String; 2]) {
    fs::remove_file(scene.site.default_cache()).unwrap();
    let answers = fields.map(|fields| {
        let (_, value) = fields.split_once('=').unwrap();
        let mut request = scene.honest_request(&format!("{}", fields.len()));
        request.callout.as_mut().unwrap().extend(format!(";{fields}").bytes());
        match scene.ask(request) {
            Outcome::Established(_) => panic!("a context"),
            outcome => format!("{outcome:?}").replace(value, "…"),
        }
    });
    assert_eq!(answers[0], answers[1]);
}
