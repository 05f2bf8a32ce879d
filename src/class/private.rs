//! A value that is kept, and never logged or shown.

use std::fmt;

use serde::{Deserialize, Deserializer, Serializer};

/// What is shown in place of a value.
const SET: &str = "(set, private)";

/// A value that is kept, and never logged or shown. Reading it takes an explicit [`Private::expose`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Private<T>(T);

impl<T> Private<T> {
    /// This value from now on.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, which then has no class.
    pub fn into_exposed(self) -> T {
        self.0
    }

    /// For `serialize_with`, in a struct of settings: says that there is a value, and not which.
    ///
    /// # Errors
    /// Those of the serialiser.
    pub fn mark<S: Serializer>(value: &impl IsSet, serializer: S) -> Result<S::Ok, S::Error> {
        match value.is_set() {
            true => serializer.serialize_str(SET),
            false => serializer.serialize_none(),
        }
    }
}

/// Shows that there is a value.
impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SET)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Private<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

/// A private setting, or one that need not be set.
pub trait IsSet {
    /// Whether there is a value.
    fn is_set(&self) -> bool;
}

impl<T> IsSet for Private<T> {
    fn is_set(&self) -> bool {
        true
    }
}

impl<T> IsSet for Option<Private<T>> {
    fn is_set(&self) -> bool {
        self.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::Private;

    #[test]
    fn debug_output_says_only_that_it_is_set() {
        assert_eq!(format!("{:?}", Some(Private::new("value"))), "Some((set, private))");
    }
}
