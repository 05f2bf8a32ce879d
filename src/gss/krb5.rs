//! The library's context and principals.
//!
//! A context is not for several threads; types here are neither `Send` nor `Sync`, since they share it by `Rc`.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, OsStr, c_long};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::rc::Rc;

use super::clock::{self, Replies};
use super::ffi;
use super::krb5_conf::{self, Effect, Fault, Reader};
use super::status::{Krb5Error, check, text, text_of};
use super::trace;
use crate::crypto::enctype::Enctype;

/// Where krb5.conf is unless something else is said.
const DEFAULT_FILE: &str = "/etc/krb5.conf";

/// A krb5 context, freed with the last object made from it.
#[derive(Debug, Clone)]
pub struct Library(Rc<RawContext>);

#[derive(Debug)]
struct RawContext {
    raw: ffi::krb5_context,
    /// Boxed, because the library has a pointer to it.
    replies: Box<Cell<Replies>>,
    /// The encryption types that are asked for instead of those of krb5.conf.
    asked_for: RefCell<Option<Vec<ffi::krb5_enctype>>>,
    configuration: Configuration,
}

impl Drop for RawContext {
    fn drop(&mut self) {
        // SAFETY: made by krb5_init_context, freed here only; every user of it holds the Rc.
        unsafe { ffi::krb5_free_context(self.raw) };
    }
}

impl Library {
    /// Reads krb5.conf.
    ///
    /// # Errors
    /// The library's, for a configuration that it cannot use; the text says where and why.
    pub fn open() -> Result<Self, Krb5Error> {
        Self::open_by(Configuration::default())
    }

    /// Reads this krb5.conf, whatever the environment names.
    ///
    /// # Errors
    /// As [`Library::open`].
    pub fn open_with(krb5_config: &Path) -> Result<Self, Krb5Error> {
        let file = CString::new(krb5_config.as_os_str().as_bytes())
            .map_err(|_| Krb5Error { code: libc::EINVAL, message: "a name holds a NUL".to_owned() })?;
        Self::open_by(Configuration(Some(file)))
    }

    /// The same once more, perhaps in another thread.
    ///
    /// # Errors
    /// As [`Library::open`].
    pub fn open_by(configuration: Configuration) -> Result<Self, Krb5Error> {
        let raw = configuration
            .context()
            .map_err(|code| Krb5Error { code, message: configuration.explain(code) })?;
        let context =
            RawContext { raw, replies: Box::default(), asked_for: RefCell::default(), configuration };
        trace::listen(raw);
        // SAFETY: the box lives where it is until its context is freed.
        unsafe { clock::listen(raw, &context.replies) };
        Ok(Self(Rc::new(context)))
    }

    /// By what it was opened.
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

    /// The encryption types that are asked for, if they are not krb5.conf's.
    pub(super) fn asked_for(&self) -> Option<Vec<ffi::krb5_enctype>> {
        self.0.asked_for.borrow().clone()
    }

    /// What krb5.conf permits of `wanted`, in its order (`permitted_enctypes`).
    ///
    /// # Errors
    /// The library's, for a list in krb5.conf that cannot be used.
    pub fn permitted(&self, wanted: &[Enctype]) -> Result<Vec<Enctype>, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        check(self, unsafe { ffi::krb5_get_permitted_enctypes(self.raw(), &mut raw) })?;
        // SAFETY: the list is the library's and ends with 0.
        let numbers = (0..).map(|at| unsafe { *raw.add(at) }).take_while(|&number| number != 0);
        let known = numbers.filter_map(|number| Enctype::try_from(number.cast_unsigned()).ok());
        let both = known.filter(|enctype| wanted.contains(enctype)).collect();
        // SAFETY: the list came from the library and is not used after this.
        unsafe { ffi::krb5_free_enctypes(self.raw(), raw) };
        Ok(both)
    }

    /// Asks from now on for session keys and subkeys of these types only, or as krb5.conf says if `None`. A ticket in a
    /// cache with a session key of another type is as if it were not there. The KDC is first asked as krb5.conf says, and
    /// once more with these types if what it gives is none of them.
    ///
    /// # Errors
    /// The library's, for a type that it does not have.
    pub fn ask_for(&self, enctypes: Option<&[Enctype]>) -> Result<(), Krb5Error> {
        let numbers: Option<Vec<_>> = enctypes.map(|list| list.iter().copied().map(number_of).collect());
        let ended = numbers.iter().flatten().copied().chain([0]).collect::<Vec<_>>();
        let list = if numbers.is_some() { ended.as_ptr() } else { ptr::null() };
        // SAFETY: the context is alive; the list ends with 0 and is copied.
        check(self, unsafe { ffi::krb5_set_default_tgs_enctypes(self.raw(), list) })?;
        self.0.asked_for.replace(numbers);
        Ok(())
    }

    /// The principal of the host-based service `name@host`: that host in small letters (RFC 4120 §6.2.1), whatever krb5.conf
    /// says of canonical names. The realm is that of `[domain_realm]`, or empty where the KDC is to find it (referral).
    ///
    /// # Errors
    /// The library's.
    pub fn service_principal(&self, name: &str, host: &str) -> Result<Principal, Krb5Error> {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let (name, host) = (c_string(name)?, c_string(&host)?);
        // Of a host-based kind the library may ask DNS for another name.
        let kind = name_type(ffi::KRB5_NT_UNKNOWN);
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the strings end with NUL, the last pointer is to a live local.
        let code =
            unsafe { ffi::krb5_sname_to_principal(self.raw(), host.as_ptr(), name.as_ptr(), kind, &mut raw) };
        check(self, code)?;
        // SAFETY: the principal was just made; nobody else knows it.
        unsafe { name_service_instance(raw) };
        Ok(Principal { library: self.clone(), raw })
    }

    /// A principal from its text, of the default realm if it names none.
    ///
    /// # Errors
    /// The library's, for text that is no principal.
    pub fn principal(&self, text: &str) -> Result<Principal, Krb5Error> {
        let text = c_string(text)?;
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the text ends with NUL, the last pointer is to a live local.
        check(self, unsafe { ffi::krb5_parse_name(self.raw(), text.as_ptr(), &mut raw) })?;
        Ok(Principal { library: self.clone(), raw })
    }

    /// The default realm of krb5.conf.
    ///
    /// # Errors
    /// The library's, if there is none.
    pub fn default_realm(&self) -> Result<String, Krb5Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local.
        check(self, unsafe { ffi::krb5_get_default_realm(self.raw(), &mut raw) })?;
        let realm = text(raw);
        // SAFETY: the string just made, not used after this.
        unsafe { ffi::krb5_free_default_realm(self.raw(), raw) };
        Ok(realm)
    }
}

/// Which krb5.conf is read: that of the environment, or a file.
#[derive(Debug, Clone, Default)]
pub struct Configuration(Option<CString>);

impl Configuration {
    /// The file, or several of them as KRB5_CONFIG has it.
    fn files(&self) -> PathBuf {
        match &self.0 {
            Some(file) => PathBuf::from(OsStr::from_bytes(file.to_bytes())),
            None => std::env::var_os("KRB5_CONFIG").map_or(DEFAULT_FILE.into(), PathBuf::from),
        }
    }

    /// What is wrong with it: the library only has a number for that.
    fn explain(&self, code: i32) -> String {
        let mut faults = self.faults();
        // What is passed over otherwise it may take amiss in the one file that the environment names.
        faults.sort_by_key(|fault| fault.effect != Effect::Fatal);
        let fault = faults.into_iter().next();
        fault.map_or_else(
            || format!("krb5.conf cannot be used: {}: {}", self.files().display(), text_of(code)),
            |fault| format!("krb5.conf cannot be used: {}", Fault { effect: Effect::Fatal, ..fault }),
        )
    }

    /// What is wrong with it, as far as its structure tells.
    pub fn faults(&self) -> Vec<Fault> {
        krb5_conf::faults(&self.files(), Reader::Ourselves)
    }

    /// A new context by it, or the library's error number.
    fn context(&self) -> Result<ffi::krb5_context, i32> {
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
struct Profile(ffi::profile_t);

impl Library {
    /// A string of the section [libdefaults], or what stands for it.
    pub(super) fn libdefault(&self, name: &CStr, default: &CStr) -> Option<String> {
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the pointer is to a live local; the copy is released by its owner.
        let profile = unsafe {
            check(self, ffi::krb5_get_profile(self.raw(), &mut raw)).ok()?;
            Profile(raw)
        };
        let (section, mut value) = (c"libdefaults".as_ptr(), ptr::null_mut());
        // SAFETY: everything is alive; a name may be left out, which the null pointer does; the value is the library's and is
        // released once, after it was copied.
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
}

impl Profile {
    /// One that does not exist is empty, as it is to krb5_init_context.
    fn of(file: &CStr) -> Result<Self, i32> {
        let mut raw = ptr::null_mut();
        let mut files = [file.as_ptr(), ptr::null()];
        let flags = i32::try_from(ffi::PROFILE_INIT_ALLOW_MODULE).unwrap_or_default();
        // SAFETY: the list ends with a null pointer, its string with NUL; both are copied. The last pointer is to a live
        // local.
        let mut code = unsafe { ffi::profile_init_flags(files.as_mut_ptr(), flags, &mut raw) };
        if code == c_long::from(libc::ENOENT) {
            // SAFETY: no list is allowed here and means an empty profile; the last pointer is to a live local.
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

fn number_of(enctype: Enctype) -> ffi::krb5_enctype {
    enctype.number().cast_signed()
}

/// Makes it a service's, of the kind that a KDC gives referrals for (RFC 6806 §8) and the library leaves as it is: one of the
/// kind "host-based" is given another name by what DNS and krb5.conf say.
///
/// # Safety
/// `principal` is alive and nobody else's.
pub(super) unsafe fn name_service_instance(principal: ffi::krb5_principal) {
    // SAFETY: by the caller's promise.
    unsafe { (*principal).type_ = name_type(ffi::KRB5_NT_SRV_INST) };
}

fn name_type(number: u32) -> i32 {
    i32::try_from(number).unwrap_or_default()
}

/// Text without NUL; others have no place in a name.
pub(super) fn c_string(name: &str) -> Result<CString, Krb5Error> {
    CString::new(name).map_err(|_| Krb5Error { code: libc::EINVAL, message: "a name holds a NUL".to_owned() })
}

/// A principal, owned.
pub struct Principal {
    library: Library,
    raw: ffi::krb5_principal,
}

impl Principal {
    /// Takes over a principal that the library made.
    pub(super) fn from_raw(library: &Library, raw: ffi::krb5_principal) -> Self {
        Self { library: library.clone(), raw }
    }

    pub(super) fn raw(&self) -> ffi::krb5_principal {
        self.raw
    }

    /// Realm and components. Bytes that are no text become characters that no name is compared with.
    pub fn name(&self) -> Name {
        // SAFETY: the principal is alive.
        unsafe { name_of(self.raw) }
    }
}

/// A principal's parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// Its realm.
    pub realm: String,
    /// What is between the slashes.
    pub components: Vec<String>,
}

impl fmt::Display for Name {
    /// For people: without the library's escapes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.components.join("/"), self.realm)
    }
}

impl Drop for Principal {
    fn drop(&mut self) {
        // SAFETY: owned, made by the library, freed here only.
        unsafe { ffi::krb5_free_principal(self.library.raw(), self.raw) };
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&unparse(&self.library, self.raw))
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Principal({self})")
    }
}

/// `name@REALM` as the library escapes it.
pub(super) fn unparse(library: &Library, principal: ffi::krb5_const_principal) -> String {
    let mut raw = ptr::null_mut();
    // SAFETY: context and principal are alive, the last pointer is to a live local.
    if unsafe { ffi::krb5_unparse_name(library.raw(), principal, &mut raw) } != 0 {
        return "(principal without a name)".to_owned();
    }
    let name = text(raw);
    // SAFETY: `raw` is the string just made, not used after this.
    unsafe { ffi::krb5_free_unparsed_name(library.raw(), raw) };
    name
}

/// Whether this is a realm's ticket-granting service, `krbtgt/REALM@…` (RFC 4120 §7.3).
///
/// # Safety
/// `principal` is alive and of the library.
pub(super) unsafe fn is_ticket_granting(principal: ffi::krb5_const_principal) -> bool {
    // SAFETY: by the caller's promise.
    let components = unsafe { components(principal) };
    matches!(components.as_slice(), [b"krbtgt", _])
}

/// # Safety
/// `principal` is alive and of the library.
pub(super) unsafe fn name_of(principal: ffi::krb5_const_principal) -> Name {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // SAFETY: by the caller's promise.
    let (realm, components) = unsafe { (bytes(&(*principal).realm), components(principal)) };
    Name { realm: text(realm), components: components.into_iter().map(text).collect() }
}

/// The components of a principal.
///
/// # Safety
/// `principal` is alive and of the library, for as long as the components are used.
pub(super) unsafe fn components<'a>(principal: ffi::krb5_const_principal) -> Vec<&'a [u8]> {
    // SAFETY: by the caller's promise; `length` says how many components there are.
    unsafe {
        let count = usize::try_from((*principal).length).unwrap_or_default();
        (0..count).map(|at| bytes(&*(*principal).data.add(at))).collect()
    }
}

/// # Safety
/// `field` is of a live object of the library.
pub(super) unsafe fn bytes(field: &ffi::krb5_data) -> &[u8] {
    let length = usize::try_from(field.length).unwrap_or_default();
    if field.data.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: by the caller's promise: `length` bytes at `data`.
    unsafe { std::slice::from_raw_parts(field.data.cast::<u8>(), length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_principal_is_the_one_asked_for_whatever_krb5_conf_says() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("krb5.conf");
        for how in ["true", "false", "fallback"] {
            let text = format!(
                "[libdefaults]\n default_realm = A.TEST\n dns_canonicalize_hostname = {how}\n rdns = true\n \
                 qualify_shortname = wrong.test\n[domain_realm]\n .b.test = B.TEST\n"
            );
            std::fs::write(&file, text).unwrap();
            let library = Library::open_with(&file).unwrap();
            for (host, expected) in [
                ("localhost", "nfs/localhost@"),
                ("127.0.0.1", "nfs/127.0.0.1@"),
                ("short", "nfs/short@"),
                ("Srv.B.test.", "nfs/srv.b.test@B.TEST"),
            ] {
                let principal = library.service_principal("nfs", host).unwrap();
                assert_eq!(principal.to_string(), expected, "dns_canonicalize_hostname = {how}");
            }
        }
    }

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
}
