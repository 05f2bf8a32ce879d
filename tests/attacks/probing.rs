//! What answers tell about things that the attacker may not see: rule S15. Each asks twice, once about what there is and
//! once about what there is not; both must end alike.

use crate::attack::{Attack, Scene};
use crate::caches::Victim;
use crate::support::persistent::PersistentRing;
use crate::support::process::{command_as, succeed};
use nix::errno::Errno;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;

const ALIKE: &str = "both answers are alike";
const CLOSED: &str = "Permission denied";

pub(crate) fn attacks() -> Vec<Attack> {
    let probing = |name: &str, attempt: fn(&Scene<'_>)| Attack::checked("S15", name, ALIKE, attempt);
    vec![
        probing("find out by a cache's name whether a file of root's exists", |scene| {
            let closed = closed(scene);
            expect_alike(scene, closed.map(|path| format!("cache=FILE:{path}")), CLOSED);
        }),
        probing("the same of a directory, by a collection's name", |scene| {
            let [there, not_there] = closed(scene);
            fs::remove_file(&there).unwrap();
            fs::create_dir(&there).unwrap();
            expect_alike(scene, [there, not_there].map(|path| format!("cache=DIR:{path}")), CLOSED);
        }),
        probing("the same by a link of its own", |scene| {
            let link = |closed: String| {
                let link = format!("{}.{}", scene.site.default_cache().display(), closed.len());
                succeed(command_as(scene.site.uid(), "ln").args(["-s", &closed, &link]), "");
                format!("cache=FILE:{link}")
            };
            expect_alike(scene, closed(scene).map(link), CLOSED);
        }),
        probing("find out whether a file exists by the root directory of a process of root's", |scene| {
            let below = |path| format!("cache=FILE:/proc/{}/root{path}", std::process::id());
            expect_alike(scene, closed(scene).map(below), CLOSED);
        }),
        probing("find out by its principal whether a user has a ticket", |scene| {
            let victim = Victim::new(scene);
            let realm = scene.shared.realm().name();
            let names = [victim.principal(), "nobody-has-this-name"];
            expect_alike(scene, names.map(|name| format!("principal={name}@{realm}")), "no ticket for ");
        }),
        probing("find out by its name whether a user has a persistent keyring", |scene| {
            let victim = PersistentRing(scene.site.machine_uid());
            let mut make = command_as(victim.0, "keyctl");
            succeed(make.args(["session", "-", "keyctl", "get_persistent", "@s"]), "");
            let names = [victim.0, victim.0 + 1_000_000].map(|uid| format!("cache=KEYRING:persistent:{uid}"));
            expect_alike(scene, names, "KEYRING:persistent:");
        }),
    ]
}

/// Two paths in a directory of root's that nobody else may search: of a credential cache, and of nothing.
fn closed(scene: &Scene<'_>) -> [String; 2] {
    let directory = scene.site.path("closed");
    DirBuilder::new().mode(0o700).create(&directory).unwrap();
    fs::copy(scene.site.default_cache(), directory.join("there")).unwrap();
    ["there", "not-there"].map(|name| directory.join(name).display().to_string())
}

/// Asks with each field, having no ticket itself.
///
/// # Panics
/// If an answer is not ENOKEY with this in its reason, or the answers differ by more than the field's value.
fn expect_alike(scene: &Scene<'_>, fields: [String; 2], reason: &str) {
    fs::remove_file(scene.site.default_cache()).unwrap();
    let mut number = 0;
    let answers = fields.map(|field| {
        number += 1;
        let mut request = scene.honest_request(&number.to_string());
        request.callout.as_mut().unwrap().extend(format!(";{field}").bytes());
        let outcome = scene.ask(request);
        let told = format!("{outcome:?}");
        assert!(told.contains(reason), "{told}");
        assert_eq!(outcome.errno(), Errno::ENOKEY, "{told}");
        let (_, value) = field.split_once('=').unwrap();
        told.replace(value, "…")
    });
    assert_eq!(answers[0], answers[1]);
}
