//! Settings of the site's hooks, and their names.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration::Seconds;
use crate::class::classes;

/// Longest name of a hook, in bytes.
const LONGEST_NAME: usize = 64;
/// Smallest memory of a hook, in MiB: a shell and what it calls.
const LEAST_HOOK_MEMORY: u32 = 16;
/// Longest run of a hook.
const LONGEST_RUN: Duration = Duration::from_secs(60);
/// Largest output of a hook, in KiB.
const GREATEST_OUTPUT: u32 = 16 * 1024;

/// The name of a hook: one to 64 of `A-Z`, `a-z`, `0-9`, `_` and `-`, so never a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HookName(String);

/// A text that cannot be the name of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hook's name has 1 to {LONGEST_NAME} characters, each a letter, a digit, _ or -")]
pub struct NotAHookName;

impl FromStr for HookName {
    type Err = NotAHookName;

    fn from_str(text: &str) -> Result<Self, NotAHookName> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let is_name = (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_allowed);
        if is_name { Ok(Self(text.to_owned())) } else { Err(NotAHookName) }
    }
}

impl TryFrom<String> for HookName {
    type Error = NotAHookName;

    fn try_from(text: String) -> Result<Self, NotAHookName> {
        text.parse()
    }
}

impl From<HookName> for String {
    fn from(name: HookName) -> Self {
        name.0
    }
}

impl HookName {
    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A hook for one purpose, or none: empty in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HookChoice(pub Option<HookName>);

impl TryFrom<String> for HookChoice {
    type Error = NotAHookName;

    fn try_from(text: String) -> Result<Self, NotAHookName> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

impl From<HookChoice> for String {
    fn from(choice: HookChoice) -> Self {
        choice.0.map_or_else(Self::new, Self::from)
    }
}

/// How the site's hooks run (rule S14).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// Where they are.
    pub directory: PathBuf,
    /// The account of hooks that run for no user: a name in /etc/passwd, or one number for uid and gid.
    pub user: String,
    /// Hooks that may use the network.
    pub network: Vec<HookName>,
    /// Time of one run.
    pub timeout: Seconds,
    /// Address space of each process of a run, in MiB.
    pub memory: u32,
    /// Most output of a run, in KiB.
    pub output: u32,
    /// How long an operator's failed run holds up the next one.
    pub delay: Seconds,
}

classes!(Hooks {
    directory: public,
    user: public,
    network: public,
    timeout: public,
    memory: public,
    output: public,
    delay: public,
});

impl Default for Hooks {
    fn default() -> Self {
        Self {
            directory: "/etc/lgss/hooks.d".into(),
            user: "lgss-hook".into(),
            network: Vec::new(),
            timeout: Seconds::of(10),
            memory: 256,
            output: 64,
            delay: Seconds::of(3),
        }
    }
}

impl Hooks {
    /// The mistake in these settings, if there is one. Paths are checked in load.rs.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        if self.timeout.0 > LONGEST_RUN {
            Some("hooks.timeout must be at most 60 s")
        } else if self.memory < LEAST_HOOK_MEMORY || self.memory > u32::from(u16::MAX) {
            Some("hooks.memory must be from 16 to 65535 (MiB)")
        } else if self.output == 0 || self.output > GREATEST_OUTPUT {
            Some("hooks.output must be from 1 to 16384 (KiB)")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hooks_name_is_a_bare_name_and_nothing_else() {
        for good in ["check", "A-z_09", "-", "_", &"x".repeat(64)] {
            assert_eq!(good.parse::<HookName>().unwrap().as_str(), good);
        }
        let long = "x".repeat(65);
        let bad = [
            "",
            ".",
            "..",
            ".hidden",
            "a.b",
            "a/b",
            "/etc/passwd",
            "../check",
            "a b",
            "a\n",
            "a\0",
            "caf\u{e9}",
            "ch\u{435}ck",
            "a\u{200b}",
            "a\u{ff0f}b",
            "*",
            "$(id)",
            long.as_str(),
        ];
        for bad in bad {
            assert_eq!(bad.parse::<HookName>(), Err(NotAHookName), "{bad:?}");
            assert!(serde_json::from_value::<HookName>(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn limits_of_hooks_have_bounds() {
        let mistake = |memory, output| Hooks { memory, output, ..Hooks::default() }.mistake().is_some();
        assert!(!mistake(16, 1) && !mistake(65535, 16 * 1024));
        let long = Hooks { timeout: Seconds::of(61), ..Hooks::default() };
        assert!(long.mistake().is_some_and(|mistake| mistake.contains("60 s")));
        assert!(mistake(15, 1) && mistake(65536, 1) && mistake(16, 0) && mistake(16, 16 * 1024 + 1));
    }
}
