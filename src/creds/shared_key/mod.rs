//! Lustre's shared keys (mechanism sk): what one holds, its binary and text form, the names under which it is in root's
//! user keyring, and reading it from there.
//!
//! Called by the monitor, by the worker for `sk`, and by lgss_sk. Invariant: a [`SharedKey`] keeps all rules of Lustre's
//! form, so it can always be encoded; its secret is zeroed and never shown (rule S10).

mod binary;
mod key;
pub(crate) mod keyring;
mod kinds;
mod names;
#[cfg(feature = "tools")]
mod text_form;

pub(crate) use key::{KeyParts, LENGTH, SharedKey, SharedKeyError, bytes_of_secret};
pub(crate) use kinds::{CipherAlgorithm, HmacAlgorithm, KeyTypes};
pub(crate) use names::{candidates, previous_of};
#[cfg(feature = "upcall")]
pub(crate) use names::{client_name, client_name_of_mount, mgc_name, mgs_name, server_name};
#[cfg(feature = "tools")]
pub(crate) use text_form::TextFormError;

#[cfg(test)]
mod tests;
