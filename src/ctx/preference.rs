//! The cache that a program prefers: its own KRB5CCNAME at the time of its request.
//!
//! Written by clients: /proc shows only the environment that a program was started with, and nothing after its end.
//! Invariant: it is a wish and ranks where KRB5CCNAME does; it never makes a request fail, and is not part of a key's
//! description.

use std::env::VarError;
use std::fmt;

/// Longest name of a cache in a request, in bytes.
pub(super) const CACHE_LIMIT: usize = 512;

/// A program's KRB5CCNAME.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "upcall", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Preference {
    /// It is not set now, whatever it was at the program's start.
    Nothing,
    /// It has this value, which need not name a cache.
    Cache(String),
}

/// Stands for [`Preference::Nothing`]: no cache has this name, since file names are absolute.
const NOTHING: &str = "-";

impl Preference {
    /// From a request's field; `None` if it is too long.
    pub(crate) fn of_field(value: &str) -> Option<Self> {
        match value {
            NOTHING => Some(Self::Nothing),
            _ => (value.len() <= CACHE_LIMIT).then(|| Self::Cache(value.to_owned())),
        }
    }

    /// The calling process's KRB5CCNAME as it is now; `None` if a request cannot hold it.
    pub fn of_caller() -> Option<Self> {
        Self::of_variable(std::env::var("KRB5CCNAME"))
    }

    fn of_variable(value: Result<String, VarError>) -> Option<Self> {
        match value {
            Err(VarError::NotPresent) => Some(Self::Nothing),
            Err(VarError::NotUnicode(_)) => None,
            Ok(name) if name.is_empty() => Some(Self::Nothing),
            Ok(name) if is_sayable(&name) => Some(Self::Cache(name)),
            Ok(_) => None,
        }
    }

    /// The cache, if there is one.
    pub fn cache(&self) -> Option<&str> {
        match self {
            Self::Nothing => None,
            Self::Cache(name) => Some(name),
        }
    }
}

/// Whether it would be read back as it is.
fn is_sayable(name: &str) -> bool {
    let plain = |byte| (0x20..0x7f).contains(&byte) && byte != b';';
    name != NOTHING && name.len() <= CACHE_LIMIT && name.bytes().all(plain)
}

impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cache().unwrap_or(NOTHING))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn an_unset_variable_is_a_preference_for_none_and_one_that_cannot_be_said_is_left_out() {
        assert_eq!(Preference::of_variable(Err(VarError::NotPresent)), Some(Preference::Nothing));
        assert_eq!(Preference::of_variable(Ok(String::new())), Some(Preference::Nothing));
        let kcm = Some(Preference::Cache("KCM:".to_owned()));
        assert_eq!(Preference::of_variable(Ok("KCM:".to_owned())), kcm);
        for unsayable in ["-", "FILE:/a;ttl=1", "FILE:/\u{e9}", "FILE:/a\nb", &"x".repeat(513)] {
            assert_eq!(Preference::of_variable(Ok(unsayable.to_owned())), None, "{unsayable}");
        }
        let bytes = std::ffi::OsString::from_vec(vec![0xff]);
        assert_eq!(Preference::of_variable(Err(VarError::NotUnicode(bytes))), None);
    }

    proptest! {
        #[test]
        fn what_a_variable_says_is_read_back_as_it_was(value in "\\PC{0,40}") {
            if let Some(preference) = Preference::of_variable(Ok(value)) {
                prop_assert_eq!(Preference::of_field(&preference.to_string()), Some(preference));
            }
        }
    }
}
