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

/// The users' quotas as the kernel shows them, a line for each.
pub(crate) const USERS: &str = "/proc/key-users";

/// Keys and bytes of this user; none without keys.
pub(crate) fn of(uid: u32) -> Option<(Share, Share)> {
    among(&std::fs::read_to_string(USERS).ok()?, uid)
}

/// The same from the kernel's text.
pub(crate) fn among(users: &str, uid: u32) -> Option<(Share, Share)> {
    users.lines().filter_map(read).find(|(of, ..)| *of == uid).map(|(_, keys, bytes)| (keys, bytes))
}

/// Parses a line `%5u: usage keys/instantiated quota-keys/limit quota-bytes/limit`: the uid, its keys and its bytes.
pub(crate) fn read(line: &str) -> Option<(u32, Share, Share)> {
    let (uid, rest) = line.split_once(':')?;
    let mut fields = rest.split_ascii_whitespace().skip(2);
    Some((uid.trim().parse().ok()?, Share::read(fields.next()?)?, Share::read(fields.next()?)?))
}

/// What to do where no key fits any more.
pub(crate) fn remedy(uid: u32, shares: Option<(Share, Share)>) -> String {
    let prefix = if uid == 0 { "root_" } else { "" };
    let settings = format!("kernel.keys.{prefix}maxkeys and kernel.keys.{prefix}maxbytes (sysctl)");
    let used = shares.map(|(keys, bytes)| {
        format!(
            "uid {uid} has used {} of {} keys and {} of {} bytes; ",
            keys.used, keys.limit, bytes.used, bytes.limit
        )
    });
    format!(
        "{}remove keys (keyctl show @s, keyctl show @u; kdestroy -A for caches, also those in the persistent keyring), or raise {settings}",
        used.unwrap_or_default()
    )
}
