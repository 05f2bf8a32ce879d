//! What a user, or somebody else, may put where the search looks for caches (rule S9). Each lies beside a good cache
//! and seems to be the better one; the request is served from the good one, and the log says why the other was not
//! used.

use crate::support::cache_file::{CacheFile, plant};
use crate::support::log::LogReader;
use crate::support::outcome::Outcome;
use crate::support::probe::as_user;
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

crate::trials![
    links_are_not_followed,
    fifos_sockets_and_devices_are_not_opened,
    directories_that_are_no_collections_are_passed_over,
    a_file_with_two_names_is_passed_over,
    files_that_others_may_write_are_passed_over,
    files_of_other_owners_are_only_counted,
    a_huge_file_is_not_read,
    caches_that_are_made_to_cost_memory_are_passed_over_unread,
    files_that_are_no_caches_are_passed_over,
    a_cache_that_is_cut_anywhere_is_passed_over,
    names_with_control_characters_make_no_lines_in_the_log,
    whatever_the_environment_names_the_default_cache_serves,
];

/// A site whose user has a good ticket, and another ticket with a longer lifetime.
struct Scene<'a> {
    shared: &'a Shared,
    site: Site,
    better: PathBuf,
}

impl<'a> Scene<'a> {
    fn new(shared: &'a Shared) -> Self {
        let site = Site::new(shared.realm());
        let default = format!("FILE:{}", site.default_cache().display());
        shared.realm().ticket_with(site.uid(), &default, &["-l", "1h"]);
        shared.realm().ticket_with(site.uid(), &site.cache("better"), &["-l", "9h"]);
        let better = site.path("user").join("better");
        Self { shared, site, better }
    }

    /// A path where the search looks.
    fn path(&self, name: &str) -> PathBuf {
        format!("{}_{name}", self.site.default_cache().display()).into()
    }

    /// Plants the cache with the longer lifetime.
    fn plant_better(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        plant(&path, &fs::read(&self.better).unwrap(), self.site.uid());
        path
    }

    /// The user is served from the good cache. Returns what the log says against the others.
    #[track_caller]
    fn serve(&self) -> Vec<String> {
        let (site, nfs) = (&self.site, self.shared.nfs());
        call_null_with(&site.ask(nfs).context(), nfs);
        site.wait_until_idle();
        let (chosen, others) = site.log.wait_for_choice();
        assert!(chosen.contains(&format!(" in FILE:{}, ", site.default_cache().display())), "{chosen}");
        expect_two_lines(&site.log);
        others
    }

    /// The same; the log gives these reasons against these caches.
    #[track_caller]
    fn expect_passed_over(&self, names_and_reasons: &[(&str, &str)]) {
        let others = self.serve();
        for (name, reason) in names_and_reasons {
            let path = self.path(name).display().to_string();
            let told = others.iter().find_map(|other| other.split_once(&path)).map(|(_, told)| told);
            let told = told.unwrap_or_else(|| panic!("nothing of {name}: {others:#?}"));
            assert!(told.starts_with([' ', ':', '/']) && told.contains(reason), "{name}: {told}");
        }
    }
}

/// One line for the outcome, one for the choice.
#[track_caller]
fn expect_two_lines(log: &LogReader) {
    let lines = log.lines();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.lines().count() == 1), "{lines:#?}");
}

fn own(path: &Path, site: &Site) {
    lchown(path, Some(site.uid()), Some(site.uid())).unwrap();
}

fn links_are_not_followed(shared: &Shared) {
    let (scene, victim) = (Scene::new(shared), Site::new(shared.realm()));
    victim.ticket(shared.realm());
    let targets = [
        ("own", scene.better.clone()),
        ("victims", victim.default_cache()),
        ("system", "/etc/shadow".into()),
        ("directory", scene.site.path("user")),
        ("nowhere", scene.path("none")),
        ("itself", scene.path("itself")),
    ];
    for (name, target) in &targets {
        symlink(target, scene.path(name)).unwrap();
        own(&scene.path(name), &scene.site);
    }
    scene.expect_passed_over(&targets.map(|(name, _)| (name, " is not a regular file")));
}

fn fifos_sockets_and_devices_are_not_opened(shared: &Shared) {
    let scene = Scene::new(shared);
    let owner = Mode::S_IRUSR | Mode::S_IWUSR;
    mkfifo(&scene.path("fifo"), owner).unwrap();
    // An endless device, and one without a driver.
    for (name, device) in [("zero", makedev(1, 5)), ("none", makedev(241, 77))] {
        mknod(&scene.path(name), SFlag::S_IFCHR, owner, device).unwrap();
    }
    let _socket = UnixListener::bind(scene.path("socket")).unwrap();
    let names = ["fifo", "zero", "none", "socket"];
    for name in names {
        own(&scene.path(name), &scene.site);
    }
    scene.expect_passed_over(&names.map(|name| (name, " is not a regular file")));
}

fn directories_that_are_no_collections_are_passed_over(shared: &Shared) {
    let scene = Scene::new(shared);
    let make = |name: &str| {
        fs::create_dir(scene.path(name)).unwrap();
        own(&scene.path(name), &scene.site);
        scene.path(name)
    };
    let content = fs::read(&scene.better).unwrap();
    plant(&make("closed").join("tkt"), &content, scene.site.uid());
    fs::set_permissions(scene.path("closed"), fs::Permissions::from_mode(0o0)).unwrap();
    plant(&make("open").join("tkt"), &content, scene.site.uid());
    fs::set_permissions(scene.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    make("empty");
    mkfifo(&make("fifo").join("primary"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    own(&scene.path("fifo").join("primary"), &scene.site);
    plant(&make("escape").join("primary"), b"tkt/../../better\n", scene.site.uid());
    symlink(&scene.better, make("member").join("tkt")).unwrap();
    own(&scene.path("member").join("tkt"), &scene.site);
    scene.expect_passed_over(&[
        ("closed", ": Permission denied"),
        ("open", " is writable by others"),
        ("empty", ": there is no such cache"),
        ("fifo", " is not a regular file"),
        ("escape", " has a malformed file primary"),
        ("member", "/tkt is not a regular file"),
    ]);
}

fn a_file_with_two_names_is_passed_over(shared: &Shared) {
    let scene = Scene::new(shared);
    fs::hard_link(scene.plant_better("one"), scene.path("two")).unwrap();
    scene.expect_passed_over(&["one", "two"].map(|name| (name, " has several names (hard links)")));
}

fn files_that_others_may_write_are_passed_over(shared: &Shared) {
    let scene = Scene::new(shared);
    let modes = [("group", 0o620), ("all", 0o602)];
    for (name, mode) in modes {
        fs::set_permissions(scene.plant_better(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    scene.expect_passed_over(&modes.map(|(name, _)| (name, " is writable by others")));
}

fn files_of_other_owners_are_only_counted(shared: &Shared) {
    let scene = Scene::new(shared);
    for (name, owner) in [("roots", 0), ("anothers", scene.site.machine_uid())] {
        let path = scene.plant_better(name);
        // The mode lets the user read them.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
    }
    // Without a cache that is passed over, the log would have no line about the choice.
    plant(&scene.path("empty"), b"", scene.site.uid());
    let others = scene.serve();
    assert!(others.iter().any(|other| other.ends_with(" more of other users")), "{others:?}");
    assert!(!others.iter().any(|other| other.contains("roots") || other.contains("anothers")), "{others:?}");
}

fn a_huge_file_is_not_read(shared: &Shared) {
    let scene = Scene::new(shared);
    let path = scene.plant_better("huge");
    File::options().write(true).open(path).unwrap().set_len(17 * 1024 * 1024).unwrap();
    scene.expect_passed_over(&[("huge", " is too large")]);
}

/// One of the largest size with very many small parts; and several that are too large together.
fn caches_that_are_made_to_cost_memory_are_passed_over_unread(shared: &Shared) {
    let scene = Scene::new(shared);
    let good = CacheFile::read(&scene.better).bytes();
    let part = [&250u32.to_be_bytes()[..], &[b'x'; 250]].concat();
    let many =
        [&[0, 0, 0, 1][..], &60_000u32.to_be_bytes(), &[0, 0, 0, 1, b'R'], &part.repeat(60_000)].concat();
    plant(&scene.path("components"), &[&good[..], &many].concat(), scene.site.uid());
    scene.expect_passed_over(&[("components", "more than 64 components")]);
    let scene = Scene::new(shared);
    for name in ["one", "two", "three"] {
        plant(
            &scene.path(name),
            &[&good[..], &[0, 0, 0, 1, 0, 0, 0, 1], &vec![0xff; 7 * 1024 * 1024]].concat(),
            scene.site.uid(),
        );
    }
    let others = scene.serve();
    let told = others.iter().filter(|other| other.contains("more than 16 MiB in all")).count();
    assert_eq!(told, 1, "{others:?}");
}

fn files_that_are_no_caches_are_passed_over(shared: &Shared) {
    let scene = Scene::new(shared);
    let noise: Vec<u8> = (0u32..4000).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let lengths = [b"\x05\x04\0\0".as_slice(), &[0, 0, 0, 1, 0, 0, 0, 1], &[0xff; 64]].concat();
    // The largest size for a cache; a reader has to go through all of it.
    let zeros = [b"\x05\x04\0\0".as_slice(), &vec![0; 15 * 1024 * 1024]].concat();
    for (name, content) in [
        ("empty", Vec::new()),
        ("noise", noise.clone()),
        ("begins-well", [b"\x05\x04".as_slice(), &noise].concat()),
        ("lengths", lengths),
        ("zeros", zeros),
    ] {
        plant(&scene.path(name), &content, scene.site.uid());
    }
    fs::set_permissions(scene.plant_better("unreadable"), fs::Permissions::from_mode(0o0)).unwrap();
    let names = ["empty", "noise", "begins-well", "lengths", "zeros"];
    let mut reasons: Vec<_> = names.iter().map(|&name| (name, ": ")).collect();
    reasons.push(("unreadable", "ermission"));
    scene.expect_passed_over(&reasons);
}

fn a_cache_that_is_cut_anywhere_is_passed_over(shared: &Shared) {
    let length = CacheFile::read(&Scene::new(shared).better).only("krbtgt/").bytes().len();
    let cuts: Vec<usize> = (0..length - 32).step_by(64).chain([length - 16]).collect();
    // As many at a time as fit into a line of the log.
    for cuts in cuts.chunks(6) {
        let scene = Scene::new(shared);
        let content = CacheFile::read(&scene.better).only("krbtgt/").bytes();
        let names: Vec<String> = cuts.iter().map(|cut| format!("cut{cut}")).collect();
        for (cut, name) in cuts.iter().zip(&names) {
            plant(&scene.path(name), &content[..*cut], scene.site.uid());
        }
        let reasons: Vec<_> = names.iter().map(|name| (name.as_str(), ": ")).collect();
        scene.expect_passed_over(&reasons);
    }
}

fn names_with_control_characters_make_no_lines_in_the_log(shared: &Shared) {
    let scene = Scene::new(shared);
    plant(&scene.path("x\n<84>forged: chosen: root\r\x1b[2J\x7f\u{85}"), b"", scene.site.uid());
    let others = scene.serve();
    assert!(
        others.iter().any(|other| other.contains(r"_x\n<84>forged: chosen: root\r\u{1b}[2J\u{7f}\u{85}")),
        "{others:?}"
    );
}

fn whatever_the_environment_names_the_default_cache_serves(shared: &Shared) {
    let (scene, victim) = (Scene::new(shared), Site::new(shared.realm()));
    victim.ticket(shared.realm());
    let (site, victims) = (&scene.site, victim.default_cache().display().to_string());
    let long = |kind: &str| format!("{kind}{}", "x".repeat(100_000));
    let names = [
        String::new(),
        "x".to_owned(),
        "MEMORY:x".to_owned(),
        "API:x".to_owned(),
        "FILE:relative".to_owned(),
        "FILE:/tmp/../etc/shadow".to_owned(),
        victims.clone(),
        format!("FILE:{victims}"),
        format!("DIR::{victims}"),
        format!("KCM:{}", victim.uid()),
        format!("KEYRING:persistent:{}", victim.uid()),
        "KEYRING:session:".to_owned(),
        "KEYRING:thread:none".to_owned(),
        "FILE:/dev/zero".to_owned(),
        "FILE:/proc/self/fd/3".to_owned(),
        "FILE:/proc/self/mem".to_owned(),
        "DIR:/proc".to_owned(),
        "FILE:/x\n<84>forged: chosen: root".to_owned(),
        long("FILE:/"),
        long("KEYRING:session:"),
        long("no type at all "),
    ];
    for (number, name) in names.iter().enumerate() {
        let request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{number}"));
        let told = name.get(..40).unwrap_or(name);
        match site.ask_naming(Some(name), as_user(site.uid()), request) {
            Outcome::Established(_) => {}
            other => panic!("{told}: {other:?}"),
        }
    }
    site.log.wait_for_established(names.len());
    let served = format!(" in FILE:{}", site.default_cache().display());
    for line in site.log.lines() {
        assert!(line.contains(&served) && line.lines().count() == 1 && line.len() < 3000, "{line}");
    }
}
