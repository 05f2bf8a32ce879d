//! Finds out whether keyrings exist without creating them: the kernel creates some keyrings when they are asked for
//! by their special ids.

use std::fs::File;
use std::io::{BufRead, BufReader};

/// The text before the name of a keyring in a line of /proc/keys (proc_keys(5)).
const TYPE: &[u8] = b" keyring   ";

/// The name of a uid's own keyring.
pub(crate) fn of_user(uid: u32) -> String {
    format!("_uid.{uid}")
}

/// The name of a uid's persistent keyring.
pub(crate) fn persistent(uid: u32) -> String {
    format!("_persistent.{uid}")
}

/// Which of these names belong to keyrings that the caller sees in the list of keys. A forged line can make this
/// wrong; then the keyring is created.
pub(crate) fn which_exist<const N: usize>(names: [&str; N]) -> [bool; N] {
    File::open("/proc/keys").map_or([false; N], |keys| listed(BufReader::new(keys), names))
}

/// Which of these names belong to keyrings in a list of keys.
pub(super) fn listed<const N: usize>(mut keys: impl BufRead, names: [&str; N]) -> [bool; N] {
    let (mut found, mut line) = ([false; N], Vec::new());
    while keys.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if let Some(at) = line.windows(TYPE.len()).position(|part| part == TYPE) {
            let name = line.get(at + TYPE.len()..).unwrap_or_default();
            let is_it = |wanted: &str| {
                name.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':'))
            };
            found.iter_mut().zip(names).for_each(|(found, wanted)| *found |= is_it(wanted));
        }
        line.clear();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::which_exist;

    #[test]
    fn a_keyring_that_nobody_has_does_not_exist() {
        assert_eq!(which_exist(["_uid.4294967290", "_persistent.4294967290"]), [false, false]);
    }
}
