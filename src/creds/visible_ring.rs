//! Whether a keyring is there, without having the kernel make it: it makes some of those that are asked for by what they are.

use std::fs::File;
use std::io::{BufRead, BufReader};

/// The name of a uid's own keyring.
pub fn of_user(uid: u32) -> String {
    format!("_uid.{uid}")
}

/// The name of a uid's persistent keyring.
pub fn persistent(uid: u32) -> String {
    format!("_persistent.{uid}")
}

/// Whether the caller sees a keyring of that name in the list of keys. A forged line may say so wrongly: then one is made.
pub fn exists(name: &str) -> bool {
    let name = format!(" keyring   {name}:");
    let Ok(keys) = File::open("/proc/keys") else { return false };
    BufReader::new(keys).split(b'\n').map_while(Result::ok).any(|line| {
        let line = String::from_utf8_lossy(&line);
        line.contains(&name)
    })
}
