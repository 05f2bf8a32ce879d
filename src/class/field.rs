//! Fields with their classes, as tables that can be printed.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::private::Private;
use crate::secret::Secret;

/// What may become of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Logged and shown freely.
    Public,
    /// Kept, and never logged or shown; at most that it is set.
    Private,
    /// In memory only, and in the pipe to the process that needs it.
    Secret,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Secret => "secret",
        })
    }
}

/// A field of a struct, or of a variant of an enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassedField {
    /// Its name as it is written.
    pub name: &'static str,
    /// Its class, or those of what it consists of.
    pub parts: FieldParts,
}

/// What a field consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldParts {
    /// One value.
    Value(Class),
    /// Fields of its own.
    Fields(&'static [ClassedField]),
    /// Tables with these fields, whose names are not known beforehand.
    Tables(&'static [ClassedField]),
}

impl ClassedField {
    /// Adds the dotted names of all values in these fields, with their classes.
    pub fn list(fields: &[Self], before: &str, listed: &mut Vec<(String, Class)>) {
        for Self { name, parts } in fields {
            match parts {
                FieldParts::Value(class) => listed.push((format!("{before}{name}"), *class)),
                FieldParts::Fields(fields) => Self::list(fields, &format!("{before}{name}."), listed),
                FieldParts::Tables(fields) => Self::list(fields, &format!("{before}{name}.*."), listed),
            }
        }
    }
}

/// Whether one of these fields is secret, which a file may not have.
pub const fn has_secret(mut fields: &[ClassedField]) -> bool {
    while let [field, rest @ ..] = fields {
        let here = match field.parts {
            FieldParts::Value(class) => matches!(class, Class::Secret),
            FieldParts::Fields(fields) | FieldParts::Tables(fields) => has_secret(fields),
        };
        if here {
            return true;
        }
        fields = rest;
    }
    false
}

/// A type each of whose fields has a class. [`classes!`](super::classes) implements it.
pub trait HasClasses {
    /// The fields.
    const FIELDS: &'static [ClassedField];
}

/// The type of a field that is said to be public: serde serialises it, to whatever place.
pub trait PublicField {}

impl<T: Serialize + ?Sized> PublicField for T {}

/// The type of a field that is said to be private.
#[diagnostic::on_unimplemented(message = "`{Self}` is not private", label = "its type must be `Private<…>`")]
pub trait PrivateField {}

impl<T> PrivateField for Private<T> {}
impl<T> PrivateField for Option<Private<T>> {}

/// The type of a field that is said to be secret.
#[diagnostic::on_unimplemented(message = "`{Self}` is not secret", label = "its type must be `Secret`")]
pub trait SecretField {}

impl SecretField for Secret {}
impl SecretField for Option<Secret> {}

/// The type of a field that consists of the fields of `T`.
#[diagnostic::on_unimplemented(message = "`{Self}` does not consist of `{T}`")]
pub trait ConsistsOf<T> {}

impl<T> ConsistsOf<T> for T {}
impl<T> ConsistsOf<T> for Option<T> {}
impl<T> ConsistsOf<T> for Vec<T> {}
impl<T> ConsistsOf<T> for Box<T> {}
impl<K, T> ConsistsOf<T> for BTreeMap<K, T> {}
