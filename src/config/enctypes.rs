//! The setting for the encryption types that a context may have.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::crypto::enctype::Enctype;

/// A set of encryption types, never empty. Which of them is preferred is up to krb5.conf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Enctypes(Vec<Enctype>);

impl Enctypes {
    /// The types.
    pub fn as_slice(&self) -> &[Enctype] {
        &self.0
    }

    /// Whether a context may have this type.
    pub fn allows(&self, enctype: Enctype) -> bool {
        self.0.contains(&enctype)
    }
}

impl Default for Enctypes {
    /// Every type that a context can have.
    fn default() -> Self {
        Self(vec![Enctype::Aes256Sha1, Enctype::Aes128Sha1, Enctype::Aes256Sha384, Enctype::Aes128Sha256])
    }
}

impl fmt::Display for Enctypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Vec::from(self.clone()).join(", "))
    }
}

impl TryFrom<Vec<String>> for Enctypes {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        if names.is_empty() {
            return Err("at least one encryption type must be allowed".to_owned());
        }
        names
            .iter()
            .map(|name| Enctype::named(name).ok_or_else(|| unknown(name)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<Enctypes> for Vec<String> {
    fn from(enctypes: Enctypes) -> Self {
        enctypes.0.iter().map(Enctype::to_string).collect()
    }
}

fn unknown(name: &str) -> String {
    format!("encryption type {name} is not accepted (only {})", Enctypes::default())
}
