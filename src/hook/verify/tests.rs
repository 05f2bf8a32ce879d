use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

use super::*;

/// A directory that only root can change, with `hooks.d` in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::Builder::new().prefix("lgss-test").tempdir_in("/var/lib").unwrap());
        set_mode(place.0.path(), 0o755);
        fs::create_dir(place.hooks()).unwrap();
        set_mode(&place.hooks(), 0o755);
        place
    }

    fn hooks(&self) -> PathBuf {
        self.0.path().join("hooks.d")
    }

    fn file(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        set_mode(&path, mode);
        path
    }

    fn found(&self, name: &str) -> Result<OwnedFd, HookRefusal> {
        verified(&self.hooks(), &name.parse().unwrap())
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_hook_is_a_regular_file_of_roots_or_a_link_to_one() {
    let place = Place::new();
    place.file("hooks.d/plain", 0o755);
    place.file("hooks.d/strict", 0o500);
    place.file("elsewhere", 0o755);
    symlink("plain", place.hooks().join("link")).unwrap();
    symlink("../elsewhere", place.hooks().join("out")).unwrap();
    symlink(place.0.path().join("hooks.d/../elsewhere"), place.hooks().join("absolute")).unwrap();
    symlink("link", place.hooks().join("twice")).unwrap();
    for name in ["plain", "strict", "link", "out", "absolute", "twice"] {
        assert!(place.found(name).is_ok(), "{name}: {:?}", place.found(name));
    }
    assert!(matches!(place.found("absent"), Err(HookRefusal::Missing(_))));
}

#[test]
fn owners_modes_and_kinds_are_those_of_the_rule() {
    let place = Place::new();
    for (name, mode) in
        [("group", 0o775), ("others", 0o757), ("setuid", 0o4755), ("setgid", 0o2755), ("sticky", 0o1755)]
    {
        place.file(&format!("hooks.d/{name}"), mode);
        assert!(matches!(place.found(name), Err(HookRefusal::Mode(..))), "{name}: {:?}", place.found(name));
    }
    place.file("hooks.d/data", 0o644);
    assert!(matches!(place.found("data"), Err(HookRefusal::NotExecutable(_))));
    chown(place.file("hooks.d/anothers", 0o755), Some(1), None).unwrap();
    assert!(matches!(place.found("anothers"), Err(HookRefusal::Owner(_, 1))));
    fs::create_dir(place.hooks().join("directory")).unwrap();
    set_mode(&place.hooks().join("directory"), 0o755);
    assert!(matches!(place.found("directory"), Err(HookRefusal::NotRegular(_))));
    nix::unistd::mkfifo(&place.hooks().join("fifo"), Mode::from_bits_truncate(0o755)).unwrap();
    assert!(matches!(place.found("fifo"), Err(HookRefusal::NotRegular(_))));
    let _socket = std::os::unix::net::UnixListener::bind(place.hooks().join("socket")).unwrap();
    assert!(matches!(place.found("socket"), Err(HookRefusal::NotRegular(_))));
    symlink("/dev/null", place.hooks().join("device")).unwrap();
    assert!(matches!(place.found("device"), Err(HookRefusal::NotRegular(_))));
}

#[test]
fn links_are_roots_and_lead_through_roots_directories_only() {
    let place = Place::new();
    place.file("hooks.d/plain", 0o755);
    fs::create_dir(place.0.path().join("open")).unwrap();
    set_mode(&place.0.path().join("open"), 0o777);
    place.file("open/file", 0o755);
    symlink("../hooks.d/plain", place.0.path().join("open/back")).unwrap();
    symlink("plain", place.hooks().join("anothers")).unwrap();
    lchown(place.hooks().join("anothers"), Some(1), None).unwrap();
    assert!(matches!(place.found("anothers"), Err(HookRefusal::Owner(_, 1))));
    for (name, target) in
        [("into", "../open/file"), ("through", "../open/back"), ("around", "../open/../hooks.d/plain")]
    {
        symlink(target, place.hooks().join(name)).unwrap();
        assert!(matches!(place.found(name), Err(HookRefusal::Mode(_, 0o777))), "{name}");
    }
    symlink("loop", place.hooks().join("loop")).unwrap();
    assert!(matches!(place.found("loop"), Err(HookRefusal::Links(_))));
    symlink("plain/file", place.hooks().join("below")).unwrap();
    assert!(matches!(place.found("below"), Err(HookRefusal::NotDirectory(_))));
    symlink("/../../..", place.hooks().join("root")).unwrap();
    assert!(matches!(place.found("root"), Err(HookRefusal::NotRegular(_))));
}

#[test]
fn every_directory_on_the_way_is_roots_and_at_most_0755() {
    let place = Place::new();
    place.file("hooks.d/plain", 0o755);
    for directory in [place.hooks(), place.0.path().to_owned()] {
        for mode in [0o775, 0o757, 0o777, 0o1777, 0o2755] {
            set_mode(&directory, mode);
            assert!(
                matches!(place.found("plain"), Err(HookRefusal::Mode(_, found)) if found == mode),
                "{mode:o}"
            );
        }
        set_mode(&directory, 0o700);
        assert!(place.found("plain").is_ok());
        chown(&directory, Some(1), None).unwrap();
        assert!(matches!(place.found("plain"), Err(HookRefusal::Owner(_, 1))));
        chown(&directory, Some(0), None).unwrap();
    }
    let linked = place.0.path().join("linked.d");
    symlink("hooks.d", &linked).unwrap();
    assert!(verified(&linked, &"plain".parse().unwrap()).is_ok());
    lchown(&linked, Some(1), None).unwrap();
    assert!(matches!(verified(&linked, &"plain".parse().unwrap()), Err(HookRefusal::Owner(_, 1))));
}
