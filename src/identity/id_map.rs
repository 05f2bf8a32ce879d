//! Maps our uids to those of a user namespace, by the text of a `uid_map` as a process of the initial namespace reads
//! it (user_namespaces(7)). Used for requesters in containers.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

/// Longest map in bytes: 340 lines of three numbers each.
const MAP_SIZE_LIMIT: u64 = 340 * 36;

/// A range of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    inside: u32,
    outside: u32,
    count: u32,
}

/// The map of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdMap(Vec<Extent>);

impl IdMap {
    /// Reads the map from an open file `uid_map`, which keeps its namespace even after the process has ended.
    ///
    /// # Errors
    /// Those of read(2); `InvalidData` if the text has another form.
    pub(crate) fn read(map: &OwnedFd) -> io::Result<Self> {
        let mut text = String::new();
        File::from(map.try_clone()?).take(MAP_SIZE_LIMIT).read_to_string(&mut text)?;
        Self::parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        text.lines().map(extent).collect::<Option<_>>().map(Self)
    }

    /// The uid inside the namespace of one of our users; `None` if it has none there.
    pub(crate) fn inside(&self, outside: u32) -> Option<u32> {
        self.0.iter().find_map(|extent| {
            let distance = outside.checked_sub(extent.outside)?;
            (distance < extent.count).then(|| extent.inside.checked_add(distance))?
        })
    }
}

/// Parses a line: first id inside, first id outside, their number.
fn extent(line: &str) -> Option<Extent> {
    let mut numbers = line.split_ascii_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    let extent = Extent { inside: next()?, outside: next()?, count: next()? };
    next().is_none().then_some(extent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_number_that_the_map_gives_it_or_none() {
        let map =
            IdMap::parse("         0       1000          1\n         1     100000      65536\n").unwrap();
        for (outside, inside) in [
            (1000, Some(0)),
            (100_000, Some(1)),
            (165_535, Some(65536)),
            (165_536, None),
            (999, None),
            (1001, None),
            (0, None),
            (u32::MAX, None),
        ] {
            assert_eq!(map.inside(outside), inside, "{outside}");
        }
    }

    #[test]
    fn numbers_beyond_all_ids_and_texts_of_another_form_are_none() {
        assert_eq!(IdMap::parse("").unwrap().inside(0), None);
        assert_eq!(IdMap::parse("4294967295 0 2\n").unwrap().inside(1), None);
        for bad in ["0 0\n", "0 0 1 1\n", "0 0 x\n", "0 0 4294967296\n", "-1 0 1\n", "\n"] {
            assert_eq!(IdMap::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn in_our_own_namespace_everybody_has_the_same_number() {
        let map = IdMap::read(&File::open("/proc/self/uid_map").unwrap().into()).unwrap();
        for uid in [0, 1000, 4_294_967_294] {
            assert_eq!(map.inside(uid), Some(uid));
        }
    }
}
