//! Checks `lgss_helper`, if it is installed: whom it lends the rights of root.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Group};

use crate::provider::{Installed, beside};
use crate::selftest::finding::Finding;
use crate::selftest::trusted::untrusted;
use crate::sys::files::{Untrusted, open_trusted};
use crate::text::{quoted, shell_word};

const HELPER: &str = "helper";
/// Mode in which only root and the group can execute it, and as root.
const MODE: u32 = 0o4750;

/// The finding about it; none where it is not installed, which is no fault.
pub(super) fn finding() -> Option<Finding> {
    let path = beside(Installed::Helper);
    match open_trusted(&path, OFlag::O_PATH) {
        Err(Untrusted::Open(_, error)) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(untrusted(HELPER, &error, "install it again")),
        Ok(file) => Some(match file.metadata() {
            Ok(metadata) => of(&path, metadata.mode() & 0o7777, metadata.gid()),
            Err(error) => {
                Finding::error(HELPER, format_args!("{}: {error}", path.display()), "install it again")
            }
        }),
    }
}

fn of(path: &Path, mode: u32, gid: u32) -> Finding {
    let (shown, word) = (path.display(), shell_word(path));
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name);
    let group = group.map_or_else(|| gid.to_string(), |name| quoted(&name).into_owned());
    let mend = format!(
        "chown root:lgss {word} && chmod 4750 {word}; or remove it: then only root does what it is for"
    );
    if mode & 0o4000 == 0 {
        Finding::warning(HELPER, format_args!("{shown} has mode {mode:04o}, so it lends no rights"), mend)
    } else if mode & 0o007 != 0 {
        Finding::error(
            HELPER,
            format_args!("{shown} has mode {mode:04o}: more than its group may start it as root"),
            mend,
        )
    } else if gid == 0 {
        Finding::error(HELPER, format_args!("{shown} belongs to group root, so it serves root alone"), mend)
    } else if mode != MODE {
        Finding::warning(HELPER, format_args!("{shown} has mode {mode:04o}, not {MODE:04o}"), mend)
    } else {
        Finding::ok(HELPER, format_args!("{shown}, for members of group {group}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::finding::Severity;

    #[test]
    fn only_its_group_may_start_it_and_as_root() {
        let severity = |mode, gid| of(Path::new("/h"), mode, gid).severity;
        assert_eq!(severity(0o4750, 900), Severity::Ok);
        assert_eq!(severity(0o0750, 900), Severity::Warning);
        assert_eq!(severity(0o6750, 900), Severity::Warning);
        assert_eq!(severity(0o4755, 900), Severity::Error);
        assert_eq!(severity(0o4750, 0), Severity::Error);
    }
}
