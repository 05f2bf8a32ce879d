//! How long keys will last, and what those are called that have ended. The kernel says so in /proc/keys (proc_keys(5)) only,
//! the time in whole units, and a name only where no description of another key has broken the line.

use std::collections::HashMap;
use std::fs;

/// What the kernel's list says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedKey {
    /// How long it will last.
    pub remaining: Remaining,
    /// Its description, if it is a key of type `user`.
    pub name: Option<String>,
}

/// How long a key will last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remaining {
    /// Until it is removed.
    ForEver,
    /// At least so many seconds, and less than another whole unit.
    Seconds(u64),
    /// It has expired.
    Nothing,
}

impl Remaining {
    /// Seconds until its end, at least; `None` if it has none.
    pub(crate) fn seconds(self) -> Option<u64> {
        match self {
            Self::ForEver => None,
            Self::Seconds(seconds) => Some(seconds),
            Self::Nothing => Some(0),
        }
    }
}

/// The kernel's units of time, in seconds.
const KERNELS_UNITS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// The unit that the kernel has rounded this time down to, in seconds.
pub(crate) fn unit_of(left: u64) -> u64 {
    KERNELS_UNITS.into_iter().find(|(_, unit)| left >= *unit).map_or(1, |(_, unit)| unit)
}

/// What the kernel says of every key that the caller may view, by its number. A key of which it says two things is left
/// out: then a description with a line break has forged one of them.
pub(crate) fn of_all_keys() -> HashMap<i32, ListedKey> {
    parse(&fs::read("/proc/keys").unwrap_or_default())
}

pub(crate) fn parse(list: &[u8]) -> HashMap<i32, ListedKey> {
    let mut found: HashMap<i32, Option<ListedKey>> = HashMap::new();
    for line in list.split(|&byte| byte == b'\n') {
        if let Some((key, remaining)) =
            std::str::from_utf8(line.get(..32).unwrap_or(line)).ok().and_then(of_line)
        {
            let listed = ListedKey { remaining, name: std::str::from_utf8(line).ok().and_then(name) };
            found.entry(key).and_modify(|known| *known = None).or_insert(Some(listed));
        }
    }
    found.into_iter().filter_map(|(key, listed)| Some((key, listed?))).collect()
}

/// What stands behind the type `user`, without the length of the payload at the end. Uid and gid come before the type.
fn name(line: &str) -> Option<String> {
    let mut rest = line;
    for _ in 0..7 {
        rest = rest.trim_start().split_once(' ')?.1;
    }
    let described = rest.trim_start().strip_prefix("user ")?.trim_start();
    let (name, length) = described.rsplit_once(": ")?;
    length.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.to_owned())
}

/// `2f81a3c0 I--Q---     1 perm 3f010000 …`: number, flags, references, time.
fn of_line(line: &str) -> Option<(i32, Remaining)> {
    let mut words = line.split_whitespace();
    let key = words.next().filter(|word| word.len() == 8)?;
    let key = i32::from_str_radix(key, 16).ok()?;
    let remaining = match words.nth(2)? {
        "perm" => Remaining::ForEver,
        "expd" => Remaining::Nothing,
        time => {
            let (number, unit) = time.split_at_checked(time.len().checked_sub(1)?)?;
            let (_, unit) = KERNELS_UNITS.into_iter().find(|(letter, _)| *letter == unit)?;
            Remaining::Seconds(number.parse::<u64>().ok()?.checked_mul(unit)?)
        }
    };
    Some((key, remaining))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_units_are_understood_and_two_lines_for_a_key_are_not_believed() {
        let list = b"\
2f81a3c0 I--Q---     1 perm 3f010000     0     0 user      lustre:a: 2407
00000010 I--Q---     1  47h 3f3f0000     0     0 user      lustre:b: 2407
00000011 I--Q---     2   1d 3f3f0000     0     0 user      lustre:c: 2407
00000012 I--Q---     2 expd 3f3f0000     0     0 user      \xff\xfe: 2407
00000013 I--Q---     2 perm 3f3f0000     0     0 user      lustre:d
00000014 I--Q---     2 expd 3f3f0000     0     0 user      x: 1
00000015 I--Q---     2 expd 3f3f0000     0     0 keyring   lustre:f: 2
00000016 IR-Q---     2 perm 3f3f0000     0 65534 user      lustre:MGC10.0.0.1@tcp: x: 0
00000014 I--Q---     2   2w 3f3f0000     0     0 user      lustre:e: 2407
nonsense
";
        let found = parse(list);
        let of = |key| found.get(&key).map(|listed| listed.remaining);
        assert_eq!(of(0x2f81_a3c0), Some(Remaining::ForEver));
        assert_eq!(
            (of(0x10), of(0x11)),
            (Some(Remaining::Seconds(47 * 3600)), Some(Remaining::Seconds(86_400)))
        );
        assert_eq!((of(0x12), of(0x14)), (Some(Remaining::Nothing), None));
        let name = |key| found.get(&key).and_then(|listed| listed.name.as_deref());
        assert_eq!((name(0x2f81_a3c0), name(0x10)), (Some("lustre:a"), Some("lustre:b")));
        assert_eq!((name(0x12), name(0x13), name(0x15)), (None, None, None));
        assert_eq!(name(0x16), Some("lustre:MGC10.0.0.1@tcp: x"));
        assert_eq!(found.len(), 7);
    }
}
