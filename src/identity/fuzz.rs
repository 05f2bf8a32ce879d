//! Checks for the fuzz targets (docs/fuzzing.md): texts of /proc about a requester, and of /etc about users.

use super::counted_owner::CountedOwner;
use super::id_map::IdMap;
use super::key_list::Counter;
use super::requester::{Syscall, origin, parse_syscall, parse_uids};
use super::system_user::ids_of;
use super::unprivileged;

/// /proc/key-users.
pub fn key_users(data: &[u8]) {
    let mut whole = Counter::default();
    whole.feed(data);
    let mut pieces = Counter::default();
    data.chunks(5).for_each(|piece| pieces.feed(piece));
    assert_eq!(pieces.keys, whole.keys, "the pieces in which it is read matter");
}

/// A thread's `status`: only one line counts, and its four numbers are the whole of it.
pub fn status(data: &[u8]) {
    let Some(uids) = parse_uids(data) else { return };
    let line = format!("Uid:\t{}\t{}\t{}\t{}", uids.real, uids.effective, uids.saved, uids.fs);
    assert_eq!(parse_uids(line.as_bytes()), Some(uids));
}

/// A worker's own `status`: the first line of a name counts, so nothing after it hides a privilege.
pub fn own_status(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    const HARMLESS: &str = "Uid:\t1000\t1000\t1000\t1000\nGid:\t100\t100\t100\t100\nGroups:\t\nCapInh:\t0000000000000000\n\
        CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n\
        NoNewPrivs:\t1\n";
    let _ = unprivileged::check(text);
    assert!(unprivileged::check(HARMLESS).is_ok());
    for privilege in ["Uid:\t0\t0\t0\t0", "Groups:\t4", "CapBnd:\t0000000000000400", "NoNewPrivs:\t0"] {
        assert!(unprivileged::check(&format!("{privilege}\n{HARMLESS}{text}")).is_err(), "{privilege}");
    }
}

/// A thread's `syscall`.
pub fn syscall(data: &[u8]) {
    if let Some(Syscall::Entered(call)) = parse_syscall(data) {
        let line = format!("{} 0x0 {:#x} 0x0", call.number.cast_signed(), call.stack);
        assert_eq!(parse_syscall(line.as_bytes()), Some(Syscall::Entered(call)));
        let _ = origin(call);
    }
}

/// The `uid_map` of a user namespace.
pub fn uid_map(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(map) = IdMap::parse(text) else { return };
    for uid in [0, 1, 1000, 100_000, u32::MAX - 1, u32::MAX] {
        let of_lines = text.lines().find_map(|line| IdMap::parse(line)?.inside(uid));
        assert_eq!(map.inside(uid), of_lines);
    }
}

/// /etc/subuid, and the names of files that are about owners.
pub fn owners(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for uid in [0, 1000, 100_000, u32::MAX] {
        match CountedOwner::by_ranges(&text, uid) {
            CountedOwner::Subordinates(first) => assert!(first <= uid),
            owner => assert_eq!(owner, CountedOwner::User(uid)),
        }
    }
    if let Some(owner) = CountedOwner::named(&text) {
        assert_eq!(owner.file_name(), text);
    }
}

/// /etc/passwd, for the system user.
pub fn passwd(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for name in ["lgss", "root", ""] {
        if let Some((uid, gid)) = ids_of(&text, name) {
            assert_eq!(ids_of(&format!("{name}:x:{uid}:{gid}::/:/bin/sh"), name), Some((uid, gid)));
        }
    }
}
