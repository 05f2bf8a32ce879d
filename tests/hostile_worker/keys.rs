//! Attacks on the key, and on keyrings that lead to it.

use super::Report;
use libc::{c_long, c_ulong};
use nix::errno::Errno;
use std::ffi::CString;

/// Attacks all keys of the requester that /proc/keys shows, among them the one under negotiation.
pub(crate) fn attack(report: &mut Report) {
    let keys = visible("user");
    report.say("see no key", if keys.is_empty() { Ok(()) } else { Err(Errno::ENODATA) });
    attempt_all(report, "as started", &keys);
    report.say("ask for a key, but not in its own name", ask());
    for ring in visible("keyring") {
        // A link from our session keyring would give us possession; the user's own keyrings may be linked.
        let _ = keyctl(libc::KEYCTL_LINK, [id(ring), id(libc::KEY_SPEC_SESSION_KEYRING), 0, 0]);
    }
    attempt_all(report, "after linking keyrings", &keys);
    for key in &keys {
        let name = CString::new(format!("_req.{key}")).expect("no NUL");
        // This makes a keyring with that name if there is none to join; the attempts on the key show whether it did
        // harm.
        let _ = keyctl(libc::KEYCTL_JOIN_SESSION_KEYRING, [name.as_ptr() as c_ulong, 0, 0, 0]);
        attempt_all(report, "after joining _req", std::slice::from_ref(key));
    }
    let _ = keyctl(libc::KEYCTL_JOIN_SESSION_KEYRING, [0; 4]);
    report.say("session to parent", keyctl(libc::KEYCTL_SESSION_TO_PARENT, [0; 4]));
}

/// Attacks a key of root's by its number, which /proc/keys does not show, but a worker could guess; then the keyrings that may
/// lead to it.
pub(crate) fn attack_tickets(key: i32, report: &mut Report) {
    attempt_all(report, "as started", &[key]);
    for ring in visible("keyring").into_iter().chain([libc::KEY_SPEC_USER_KEYRING]) {
        let _ = keyctl(libc::KEYCTL_LINK, [id(ring), id(libc::KEY_SPEC_SESSION_KEYRING), 0, 0]);
    }
    let persistent = keyctl(libc::KEYCTL_GET_PERSISTENT, [0, id(libc::KEY_SPEC_SESSION_KEYRING), 0, 0]);
    report.say("get root's persistent keyring", persistent);
    attempt_all(report, "after linking keyrings", &[key]);
    let _ = keyctl(libc::KEYCTL_JOIN_SESSION_KEYRING, [c"_uid_ses.0".as_ptr() as c_ulong, 0, 0, 0]);
    attempt_all(report, "after joining root's default session", &[key]);
}

fn attempt_all(report: &mut Report, when: &str, keys: &[i32]) {
    let payload = b"forged";
    let (bytes, length) = (payload.as_ptr() as c_ulong, payload.len() as c_ulong);
    let mut buffer = [0u8; 256];
    let into = buffer.as_mut_ptr() as c_ulong;
    for &key in keys {
        let key = id(key);
        for (name, operation, arguments) in [
            ("read", libc::KEYCTL_READ, [key, into, 256, 0]),
            ("update", libc::KEYCTL_UPDATE, [key, bytes, length, 0]),
            ("set permissions", libc::KEYCTL_SETPERM, [key, 0x3f3f_3f3f, 0, 0]),
            ("set timeout", libc::KEYCTL_SET_TIMEOUT, [key, 0, 0, 0]),
            ("revoke", libc::KEYCTL_REVOKE, [key, 0, 0, 0]),
            ("invalidate", libc::KEYCTL_INVALIDATE, [key, 0, 0, 0]),
            ("link", libc::KEYCTL_LINK, [key, id(libc::KEY_SPEC_SESSION_KEYRING), 0, 0]),
            ("assume authority", libc::KEYCTL_ASSUME_AUTHORITY, [key, 0, 0, 0]),
            ("instantiate", libc::KEYCTL_INSTANTIATE, [key, bytes, length, 0]),
            ("reject", libc::KEYCTL_REJECT, [key, 1, libc::EACCES as c_ulong, 0]),
        ] {
            report.say(&format!("{name} {when}"), keyctl(operation, arguments));
        }
    }
}

/// Makes requests and reads in /proc/keys, while one is under way, whom the kernel names as its requester. With an authority
/// that is still in force this would be our upcall's requester; with one that was used, the kernel refuses all requests, also
/// those that it makes itself in this process. Only without one is this thread the requester: the one result that is no success.
fn ask() -> Result<(), Errno> {
    let uid = nix::unistd::getuid();
    for number in 0..50 {
        let name = format!("lgss:{uid}:again@h{number}");
        let description = CString::new(name.as_str()).expect("no NUL");
        let (tell, told) = std::sync::mpsc::channel();
        let asking = std::thread::spawn(move || {
            let own = std::fs::read_link("/proc/thread-self").expect("/proc");
            let own = own.file_name().and_then(|tid| tid.to_str()?.parse().ok()).expect("a number");
            let _ = tell.send(own);
            // SAFETY: strings with NUL that outlive the call, and a number.
            unsafe {
                let (kind, callout) = (c"user".as_ptr(), c"x".as_ptr());
                libc::syscall(libc::SYS_request_key, kind, description.as_ptr(), callout, 0)
            };
        });
        let own: i32 = told.recv().expect("its number");
        let mut named = None;
        while named.is_none() && !asking.is_finished() {
            named = requester_of(&name);
        }
        asking.join().expect("no panic");
        match named {
            Some(tid) if tid == own => return Err(Errno::ENOKEY),
            Some(_) => return Ok(()),
            // It was over before we looked.
            None => {}
        }
    }
    Ok(())
}

/// The thread that the kernel names as the requester of a key under construction with this description.
fn requester_of(description: &str) -> Option<i32> {
    let text = std::fs::read("/proc/keys").ok()?;
    let text = String::from_utf8_lossy(&text);
    let key = text.lines().find(|line| line.split(' ').any(|word| word == description))?;
    let key = u32::from_str_radix(key.split(' ').next()?, 16).ok()?;
    let line = text.lines().find(|line| line.contains(&format!(" .request_ key:{key:x} pid:")))?;
    line.split(' ').find_map(|word| word.strip_prefix("pid:")?.parse().ok())
}

/// The key under negotiation for this service, and the authority over it, while there is one.
pub(crate) fn under_negotiation(service: &str) -> (i32, Option<i32>) {
    let description = format!("lgss:{}:{service}", nix::unistd::getuid());
    let key = visible_as("user", &description).expect("the key under negotiation");
    (key, visible_as(".request_", &format!("key:{key:x}")))
}

/// Serial of the key of this type and description, if we may see it.
fn visible_as(key_type: &str, description: &str) -> Option<i32> {
    let text = std::fs::read("/proc/keys").ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| {
        let mut words = line.split_whitespace().skip(7);
        // The length of the payload follows a colon.
        words.next() == Some(key_type)
            && words.next().is_some_and(|word| word.trim_end_matches(':') == description)
    });
    i32::from_str_radix(line?.split(' ').next()?, 16).ok()
}

/// Serials of the keys of a type that we may see: ours and those of our uid.
fn visible(key_type: &str) -> Vec<i32> {
    let text = std::fs::read("/proc/keys").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| line.split_whitespace().nth(7) == Some(key_type));
    lines.filter_map(|line| i32::from_str_radix(line.split(' ').next()?, 16).ok()).collect()
}

fn keyctl(operation: u32, arguments: [c_ulong; 4]) -> Result<(), Errno> {
    let [a, b, c, d] = arguments;
    // SAFETY: callers pass plain numbers, or addresses with lengths of buffers that outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, c_ulong::from(operation), a, b, c, d) }).map(drop)
}

fn id(serial: i32) -> c_ulong {
    serial as c_long as c_ulong
}
