//! What an attacker names as its cache or puts in its place: rules S7 and S9. It has no ticket elsewhere, so that
//! using one would show.

use crate::attack::{Attack, End, Scene};
use crate::support::cache_file::plant;
use crate::support::outcome::Outcome;
use crate::support::process::{command_as, succeed};
use crate::support::realm::PASSWORD;
use crate::support::site::Site;
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

const NONE: End = End::Refused(Errno::ENOKEY);

pub(crate) fn attacks() -> Vec<Attack> {
    [named(), placed(), of_a_victim()].into_iter().flatten().collect()
}

/// A user with a ticket of a principal that nobody else has.
pub(crate) struct Victim {
    pub(crate) site: Site,
    principal: String,
}

impl Victim {
    pub(crate) fn new(scene: &Scene<'_>) -> Self {
        let realm = scene.shared.realm();
        let site = Site::new(realm);
        let principal = format!("victim{}", site.uid());
        realm.administrate(&[format!("addprinc -pw \"{PASSWORD}\" {principal}")]);
        let mut kinit = command_as(site.uid(), "kinit");
        let cache = format!("FILE:{}", site.default_cache().display());
        kinit.envs(realm.environment()).args(["-c", &cache, &principal]);
        succeed(&mut kinit, &format!("{PASSWORD}\n"));
        let victim = Self { site, principal };
        // Where it is used, the log says so.
        victim.site.ask(scene.shared.nfs()).context();
        victim.site.log.wait_for_words(&["established", &victim.principal]);
        victim
    }

    /// Without its realm.
    pub(crate) fn principal(&self) -> &str {
        &self.principal
    }

    /// # Panics
    /// If the attacker's log tells of the victim's principal.
    pub(crate) fn expect_unused(&self, scene: &Scene<'_>) {
        scene.site.wait_until_idle();
        let lines = scene.site.log.lines();
        assert!(!lines.iter().any(|line| line.contains(&self.principal)), "{lines:#?}");
    }
}

/// Takes the attacker's own ticket away.
fn without_ticket(scene: &Scene<'_>) -> PathBuf {
    let cache = scene.site.default_cache();
    fs::remove_file(&cache).unwrap();
    cache
}

/// Names that lead elsewhere.
fn named() -> Vec<Attack> {
    // The log says why.
    let named = |name: &str, cache: &'static str, reason: &'static str| {
        Attack::asking("S9", name, NONE, move |scene| {
            without_ticket(scene);
            let outcome = scene.ask_with_fields(&format!("cache={cache}"));
            scene.site.log.wait_for_words(&["ENOKEY", reason]);
            outcome
        })
    };
    vec![
        named("name /etc/shadow as the cache", "FILE:/etc/shadow", "belongs to somebody else"),
        named("name a descriptor of the service's", "FILE:/proc/self/fd/5", "is a link of somebody else's"),
        named("name the memory of the service", "FILE:/proc/self/mem", "belongs to somebody else"),
        named(
            "name a file below another root directory",
            "FILE:/proc/1/root/etc/shadow",
            "Permission denied",
        ),
        named("name an endless device", "FILE:/dev/zero", "is not a regular file"),
        named("name the terminal", "FILE:/dev/tty", "is not a regular file"),
        named("name a directory as a file", "FILE:/etc", "is not a regular file"),
        named("name a collection of everything", "DIR:/", "belongs to somebody else"),
        named("name a way up", "FILE:/tmp/../etc/shadow", "is not an absolute path"),
        // Whether there is one or not.
        named("name the cache of the node", "FILE:/run/lgss/machine/krb5cc", "FILE:/run/lgss/machine/krb5cc"),
        named("name a relative path", "FILE:krb5cc", "is not an absolute path"),
        named("name the memory of one process", "MEMORY:x", "cache type MEMORY cannot be used"),
        named("name a type that is not known", "EVIL:x", "cache type EVIL cannot be used"),
        named("name a cache by an expansion", "FILE:/tmp/krb5cc_%{uid}", "there is no such cache"),
    ]
}

/// Things that are no cache, where the default cache should be.
fn placed() -> Vec<Attack> {
    let placed = |name: &str, place: fn(&Path, &Scene<'_>)| {
        Attack::asking("S9", name, NONE, move |scene| {
            let cache = without_ticket(scene);
            place(&cache, scene);
            lchown(&cache, Some(scene.site.uid()), Some(scene.site.uid())).unwrap();
            let outcome = scene.ask(scene.honest_request(""));
            remove(&cache);
            outcome
        })
    };
    vec![
        placed("a fifo", |cache, _| mkfifo(cache, Mode::S_IRUSR | Mode::S_IWUSR).unwrap()),
        placed("a socket", |cache, _| drop(UnixListener::bind(cache).unwrap())),
        placed("an endless device", |cache, _| {
            mknod(cache, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(1, 5)).unwrap();
        }),
        placed("an empty directory", |cache, _| fs::create_dir(cache).unwrap()),
        placed("an empty file", |cache, scene| plant(cache, b"", scene.site.uid())),
        placed("a file of zeros", |cache, scene| plant(cache, &[0; 4096], scene.site.uid())),
        placed("a file with holes, of a terabyte", |cache, scene| {
            plant(cache, &[5, 4], scene.site.uid());
            fs::File::options().write(true).open(cache).unwrap().set_len(1 << 40).unwrap();
        }),
        placed("half a cache", |cache, scene| {
            let whole = ticket(scene);
            plant(cache, &whole[..whole.len() / 2], scene.site.uid());
        }),
        placed("a cache that others may write", |cache, scene| {
            plant(cache, &ticket(scene), scene.site.uid());
            fs::set_permissions(cache, Permissions::from_mode(0o622)).unwrap();
        }),
        placed("a cache with two names", |cache, scene| {
            plant(cache, &ticket(scene), scene.site.uid());
            fs::hard_link(cache, format!("{}.second", cache.display())).unwrap();
        }),
        placed("a link to itself", |cache, _| symlink(cache, cache).unwrap()),
        placed("a link to /etc/shadow", |cache, _| symlink("/etc/shadow", cache).unwrap()),
    ]
}

/// A good cache of the attacker's.
fn ticket(scene: &Scene<'_>) -> Vec<u8> {
    scene.shared.realm().ticket(scene.site.uid(), &scene.site.cache("good"));
    let good = scene.site.path("user").join("good");
    let content = fs::read(&good).unwrap();
    fs::remove_file(good).unwrap();
    content
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// Ways to a victim's ticket.
fn of_a_victim() -> Vec<Attack> {
    let reaching = |rule, name: &str, end, reach: fn(&Scene<'_>, &Path) -> Outcome| {
        Attack::asking(rule, name, end, move |scene| {
            let victim = Victim::new(scene);
            let outcome = reach(scene, &victim.site.default_cache());
            victim.expect_unused(scene);
            outcome
        })
    };
    vec![
        reaching("S9", "name a victim's cache", NONE, |scene, cache| {
            without_ticket(scene);
            scene.ask_with_fields(&format!("cache=FILE:{}", cache.display()))
        }),
        reaching("S9", "name a link to a victim's cache", NONE, |scene, cache| {
            without_ticket(scene);
            let link = scene.site.path("user").join("link");
            symlink(cache, &link).unwrap();
            lchown(&link, Some(scene.site.uid()), Some(scene.site.uid())).unwrap();
            scene.ask_with_fields(&format!("cache=FILE:{}", link.display()))
        }),
        reaching("S9", "a link to a victim's cache as the default cache", NONE, |scene, cache| {
            let own = without_ticket(scene);
            symlink(cache, &own).unwrap();
            lchown(&own, Some(scene.site.uid()), Some(scene.site.uid())).unwrap();
            let outcome = scene.ask(scene.honest_request(""));
            remove(&own);
            outcome
        }),
        reaching("S9", "a victim's cache with a second name", NONE, |scene, cache| {
            let own = without_ticket(scene);
            fs::hard_link(cache, &own).unwrap();
            let outcome = scene.ask(scene.honest_request(""));
            remove(&own);
            outcome
        }),
        reaching("S7", "prefer a victim's cache", End::OwnContext, |scene, cache| {
            scene.ask_with_fields(&format!("prefer=FILE:{}", cache.display()))
        }),
        reaching(
            "S7",
            "KRB5CCNAME of a victim's cache in the environment",
            End::OwnContext,
            |scene, cache| {
                let name = format!("FILE:{}", cache.display());
                scene.site.ask_in(&[("KRB5CCNAME", &name)], scene.attacker(), scene.honest_request(""))
            },
        ),
    ]
}
