//! Where programs of this package are: found from the program that runs, so that no setting and no environment has a say.

use std::path::{Path, PathBuf};

/// A program of this package that another one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Installed {
    /// `lgss_helper`, in PREFIX/libexec/lgss.
    Helper,
    /// `lgss`, in PREFIX/bin.
    Lgss,
}

/// The program that belongs to the one that runs: in its place below the same prefix, or beside it, as cargo builds them.
pub(crate) fn beside(wanted: Installed) -> PathBuf {
    let ours = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    of(&ours, wanted)
}

fn of(ours: &Path, wanted: Installed) -> PathBuf {
    let directory = ours.parent().unwrap_or(Path::new("/"));
    let prefix = ["bin", "sbin", "libexec/lgss"].iter().find_map(|place| {
        directory.ends_with(place).then(|| directory.ancestors().nth(Path::new(place).components().count()))
    });
    match (prefix.flatten(), wanted) {
        (Some(prefix), Installed::Helper) => prefix.join("libexec/lgss/lgss_helper"),
        (Some(prefix), Installed::Lgss) => prefix.join("bin/lgss"),
        (None, Installed::Helper) => directory.join("lgss_helper"),
        (None, Installed::Lgss) => directory.join("lgss"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_below_one_prefix_or_beside_each_other() {
        let helper = |ours: &str| of(Path::new(ours), Installed::Helper);
        let lgss = |ours: &str| of(Path::new(ours), Installed::Lgss);
        assert_eq!(helper("/usr/bin/lgss"), Path::new("/usr/libexec/lgss/lgss_helper"));
        assert_eq!(helper("/opt/x/sbin/lgss_sk"), Path::new("/opt/x/libexec/lgss/lgss_helper"));
        assert_eq!(lgss("/usr/libexec/lgss/lgss_helper"), Path::new("/usr/bin/lgss"));
        assert_eq!(helper("/src/target/debug/lgss"), Path::new("/src/target/debug/lgss_helper"));
        assert_eq!(lgss("/src/target/debug/lgss_helper"), Path::new("/src/target/debug/lgss"));
        assert_eq!(helper("/bin/lgss"), Path::new("/libexec/lgss/lgss_helper"));
    }
}
