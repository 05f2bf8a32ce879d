//! A user's quota of keys, as the kernel shows it (/proc/key-users, keyrings(7)).

/// Keys or bytes: a user's use and limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

impl Share {
    /// Parses `used/limit`.
    fn read(text: &str) -> Option<Self> {
        let (used, limit) = text.split_once('/')?;
        Some(Self { used: used.parse().ok()?, limit: limit.parse().ok()? })
    }

    /// How much still fits.
    #[cfg(feature = "tools")]
    pub(crate) fn left(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// Keys and bytes of this user; none without keys.
pub(crate) fn of(uid: u32) -> Option<(Share, Share)> {
    let users = std::fs::read_to_string("/proc/key-users").ok()?;
    users.lines().filter_map(read).find(|(of, ..)| *of == uid).map(|(_, keys, bytes)| (keys, bytes))
}

/// Parses a line `%5u: usage keys/instantiated quota-keys/limit quota-bytes/limit`: the uid, its keys and its bytes.
pub(crate) fn read(line: &str) -> Option<(u32, Share, Share)> {
    let (uid, rest) = line.split_once(':')?;
    let mut fields = rest.split_ascii_whitespace().skip(2);
    Some((uid.trim().parse().ok()?, Share::read(fields.next()?)?, Share::read(fields.next()?)?))
}
