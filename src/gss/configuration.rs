//! Which krb5.conf the library reads, and what is wrong with it.

use std::ffi::{CStr, CString, OsStr, c_long};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use super::ffi;
use super::krb5_conf::{self, ConfFault, ConfReach, ConfReader, Effect};
use super::status::{Krb5Error, text_of};

/// Where krb5.conf is by default.
const DEFAULT_FILE: &str = "/etc/krb5.conf";

/// Which krb5.conf is read: the one that the environment names, or a given file.
#[derive(Debug, Clone, Default)]
pub struct Configuration(Option<CString>);

impl Configuration {
    /// The given file, whatever the environment names.
    ///
    /// # Errors
    /// EINVAL for a name with a NUL.
    pub(super) fn file(path: &Path) -> Result<Self, Krb5Error> {
        let file = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Krb5Error { code: libc::EINVAL, message: "a name holds a NUL".to_owned() })?;
        Ok(Self(Some(file)))
    }

    /// The file, or several in the syntax of KRB5_CONFIG.
    fn files(&self) -> PathBuf {
        match &self.0 {
            Some(file) => PathBuf::from(OsStr::from_bytes(file.to_bytes())),
            None => std::env::var_os("KRB5_CONFIG").map_or(DEFAULT_FILE.into(), PathBuf::from),
        }
    }

    /// What is wrong with it. The library has only a number for that.
    pub(super) fn explain(&self, code: i32) -> String {
        let mut faults = self.faults();
        // In the one file that the environment names, the library may refuse what it elsewhere ignores.
        faults.sort_by_key(|fault| fault.effect != Effect::Fatal);
        let fault = faults.into_iter().next();
        fault.map_or_else(
            || format!("krb5.conf cannot be used: {}: {}", self.files().display(), text_of(code)),
            |fault| format!("krb5.conf cannot be used: {}", ConfFault { effect: Effect::Fatal, ..fault }),
        )
    }

    /// What is wrong with its structure.
    pub fn faults(&self) -> Vec<ConfFault> {
        krb5_conf::faults(&self.files(), ConfReader::Ourselves)
    }

    /// What the library may open or connect to because of it.
    pub(crate) fn reach(&self) -> ConfReach {
        krb5_conf::reach(&self.files())
    }

    /// A new context by this configuration, or the library's error number.
    pub(super) fn context(&self) -> Result<ffi::krb5_context, i32> {
        let mut raw = ptr::null_mut();
        let code = match &self.0 {
            // SAFETY: the pointer is to a live local.
            None => unsafe { ffi::krb5_init_context(&mut raw) },
            Some(file) => {
                let profile = Profile::of(file)?;
                // SAFETY: the profile is alive and is copied; the last pointer is to a live local.
                unsafe { ffi::krb5_init_context_profile(profile.0, 0, &mut raw) }
            }
        };
        if code == 0 { Ok(raw) } else { Err(code) }
    }
}

/// The contents of a configuration file.
pub(super) struct Profile(pub(super) ffi::profile_t);

impl Profile {
    /// A missing file counts as empty, as krb5_init_context has it.
    fn of(file: &CStr) -> Result<Self, i32> {
        let mut raw = ptr::null_mut();
        let mut files = [file.as_ptr(), ptr::null()];
        let flags = i32::try_from(ffi::PROFILE_INIT_ALLOW_MODULE).unwrap_or_default();
        // SAFETY: the list ends with a null pointer, its string with NUL; both are copied. The last pointer is to a live
        // local.
        let mut code = unsafe { ffi::profile_init_flags(files.as_mut_ptr(), flags, &mut raw) };
        if code == c_long::from(libc::ENOENT) {
            // SAFETY: a null list is allowed and means an empty profile; the last pointer is to a live local.
            code = unsafe { ffi::profile_init(ptr::null_mut(), &mut raw) };
        }
        if code == 0 { Ok(Self(raw)) } else { Err(i32::try_from(code).unwrap_or(libc::EINVAL)) }
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        // SAFETY: owned, released here only.
        unsafe { ffi::profile_release(self.0) };
    }
}
