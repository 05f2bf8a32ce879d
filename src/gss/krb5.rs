//! The library's context.
//!
//! One thread uses a context. Types here share it by `Rc` and so are neither `Send` nor `Sync`.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::path::Path;
use std::ptr;
use std::rc::Rc;

use super::configuration::{Configuration, Profile};
use super::ffi;
use super::replies::{self, Replies};
use super::status::{Krb5Error, text};
use super::trace;
use crate::crypto::enctype::Enctype;

/// A krb5 context, freed with the last object made from it.
#[derive(Debug, Clone)]
pub struct Library(Rc<RawKrb5Context>);

#[derive(Debug)]
struct RawKrb5Context {
    raw: ffi::krb5_context,
    /// Boxed, because the library keeps a pointer to it.
    replies: Box<Cell<Replies>>,
    /// Encryption types to ask for instead of those of krb5.conf.
    asked_for: RefCell<Option<Vec<ffi::krb5_enctype>>>,
    configuration: Configuration,
}

impl Drop for RawKrb5Context {
    fn drop(&mut self) {
        // SAFETY: made by krb5_init_context, freed here only; every user of it holds the Rc.
        unsafe { ffi::krb5_free_context(self.raw) };
    }
}

impl Library {
    /// Reads krb5.conf.
    ///
    /// # Errors
    /// The library's, for an unusable configuration. The text says where and why.
    pub fn open() -> Result<Self, Krb5Error> {
        Self::open_by(Configuration::default())
    }

    /// Reads this krb5.conf, whatever the environment names.
    ///
    /// # Errors
    /// As [`Library::open`].
    pub fn open_with(krb5_config: &Path) -> Result<Self, Krb5Error> {
        Self::open_by(Configuration::file(krb5_config)?)
    }

    /// Opens the same configuration again, perhaps in another thread.
    ///
    /// # Errors
    /// As [`Library::open`].
    pub fn open_by(configuration: Configuration) -> Result<Self, Krb5Error> {
        let raw = configuration
            .context()
            .map_err(|code| Krb5Error { code, message: configuration.explain(code) })?;
        let context =
            RawKrb5Context { raw, replies: Box::default(), asked_for: RefCell::default(), configuration };
        trace::listen(raw);
        // SAFETY: the box lives where it is until its context is freed.
        unsafe { replies::listen(raw, &context.replies) };
        Ok(Self(Rc::new(context)))
    }

    /// The configuration it was opened with.
    pub fn configuration(&self) -> Configuration {
        self.0.configuration.clone()
    }

    pub(super) fn raw(&self) -> ffi::krb5_context {
        self.0.raw
    }

    /// What KDCs have answered so far.
    pub(super) fn replies(&self) -> Replies {
        self.0.replies.get()
    }

    /// The encryption types to ask for, unless krb5.conf decides.
    pub(super) fn asked_for(&self) -> Option<Vec<ffi::krb5_enctype>> {
        self.0.asked_for.borrow().clone()
    }

    /// The types of `wanted` that krb5.conf permits, in krb5.conf's order (`permitted_enctypes`).
    ///
    /// # Errors
    /// The library's, for an unusable list in krb5.conf.
    pub fn permitted(&self, wanted: &[Enctype]) -> Result<Vec<Enctype>, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        self.check(unsafe { ffi::krb5_get_permitted_enctypes(self.raw(), &mut raw) })?;
        // SAFETY: the list is the library's and ends with 0.
        let numbers = (0..).map(|at| unsafe { *raw.add(at) }).take_while(|&number| number != 0);
        let known = numbers.filter_map(|number| Enctype::try_from(number.cast_unsigned()).ok());
        let both = known.filter(|enctype| wanted.contains(enctype)).collect();
        // SAFETY: the list came from the library and is not used after this.
        unsafe { ffi::krb5_free_enctypes(self.raw(), raw) };
        Ok(both)
    }

    /// From now on asks for session keys and subkeys of these types only; with `None`, as krb5.conf says. Cached tickets
    /// with a session key of another type are ignored. The KDC is first asked as krb5.conf says, and again with these
    /// types if its answer has none of them.
    ///
    /// # Errors
    /// The library's, for a type that it does not support.
    pub fn ask_for(&self, enctypes: Option<&[Enctype]>) -> Result<(), Krb5Error> {
        let numbers: Option<Vec<_>> = enctypes.map(|list| list.iter().copied().map(number_of).collect());
        let ended = numbers.iter().flatten().copied().chain([0]).collect::<Vec<_>>();
        let list = if numbers.is_some() { ended.as_ptr() } else { ptr::null() };
        // SAFETY: the context is alive; the list ends with 0 and is copied.
        self.check(unsafe { ffi::krb5_set_default_tgs_enctypes(self.raw(), list) })?;
        self.0.asked_for.replace(numbers);
        Ok(())
    }

    /// The default realm of krb5.conf.
    ///
    /// # Errors
    /// The library's, if there is none.
    pub fn default_realm(&self) -> Result<String, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        self.check(unsafe { ffi::krb5_get_default_realm(self.raw(), &mut raw) })?;
        let realm = text(raw);
        // SAFETY: the string just made, not used after this.
        unsafe { ffi::krb5_free_default_realm(self.raw(), raw) };
        Ok(realm)
    }

    /// A string of the section [libdefaults], or the default.
    pub(super) fn libdefault(&self, name: &CStr, default: &CStr) -> Option<String> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local; the copy is released by its owner.
        let profile = unsafe {
            self.check(ffi::krb5_get_profile(self.raw(), &mut raw)).ok()?;
            Profile(raw)
        };
        let (section, mut value) = (c"libdefaults".as_ptr(), ptr::null_mut());
        // SAFETY: everything is alive; the null pointer leaves a name out; the value is the library's and is released
        // once, after the copy.
        unsafe {
            let (name, default) = (name.as_ptr(), default.as_ptr());
            let code = ffi::profile_get_string(profile.0, section, name, ptr::null(), default, &mut value);
            if code != 0 || value.is_null() {
                return None;
            }
            let text = text(value);
            ffi::profile_release_string(value);
            Some(text)
        }
    }

    /// Ok for 0, else the code with its text.
    pub(super) fn check(&self, code: ffi::krb5_error_code) -> Result<(), Krb5Error> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the context is alive; the library returns an owned string for any code, never null.
        let raw = unsafe { ffi::krb5_get_error_message(self.raw(), code) };
        let message = text(raw);
        // SAFETY: `raw` came from krb5_get_error_message and is not used after this.
        unsafe { ffi::krb5_free_error_message(self.raw(), raw) };
        // Without this, a later error with the same code and no text would show this one's text.
        // SAFETY: the context is alive.
        unsafe { ffi::krb5_clear_error_message(self.raw()) };
        Err(Krb5Error { code, message })
    }
}

fn number_of(enctype: Enctype) -> ffi::krb5_enctype {
    enctype.number().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gss::ticket::Cache;

    #[test]
    fn a_named_configuration_counts_and_one_that_does_not_exist_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("krb5.conf");
        std::fs::write(&file, "[libdefaults]\n default_realm = NAMED.TEST\n").unwrap();
        let library = Library::open_with(&file).unwrap();
        assert_eq!(library.default_realm().unwrap(), "NAMED.TEST");
        let again = Library::open_by(library.configuration()).unwrap();
        assert_eq!(again.default_realm().unwrap(), "NAMED.TEST");
        assert!(Library::open_with(&directory.path().join("absent")).is_ok());
        std::fs::write(&file, "[libdefaults\n").unwrap();
        let error = Library::open_with(&file).unwrap_err().to_string();
        assert!(error.contains("krb5.conf, line 1: ] is missing"), "{error}");
    }

    #[test]
    fn an_error_does_not_speak_of_the_file_that_another_one_was_about() {
        let library = Library::open().unwrap();
        let first = Cache::resolve(&library, "FILE:/nowhere/at/all").and_then(|cache| cache.principal());
        let first = first.unwrap_err();
        assert!(first.message.contains("/nowhere/at/all"), "{first}");
        let second = library.check(first.code).unwrap_err();
        assert!(!second.message.contains("/nowhere") && !second.message.is_empty(), "{second}");
    }
}
