//! Principals: names with a realm, as the library's objects and as text in parts.

use std::ffi::CString;
use std::fmt;
use std::ptr;

use super::ffi;
use super::krb5::Library;
use super::status::{Krb5Error, text};

impl Library {
    /// The principal of the host-based service `name@host`, with the host in small letters (RFC 4120 §6.2.1), whatever
    /// krb5.conf says about canonical names. The realm comes from `[domain_realm]`, or is empty if the KDC is to find it
    /// (referral).
    ///
    /// # Errors
    /// The library's.
    pub fn service_principal(&self, name: &str, host: &str) -> Result<Krb5Principal, Krb5Error> {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let (name, host) = (c_string(name)?, c_string(&host)?);
        // For a host-based name type the library may ask DNS for another name.
        let kind = name_type(ffi::KRB5_NT_UNKNOWN);
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the strings end with NUL, the last pointer is to a live local.
        let code =
            unsafe { ffi::krb5_sname_to_principal(self.raw(), host.as_ptr(), name.as_ptr(), kind, &mut raw) };
        self.check(code)?;
        // SAFETY: the principal was just made; nobody else knows it.
        unsafe { name_service_instance(raw) };
        Ok(Krb5Principal { library: self.clone(), raw })
    }

    /// Parses a principal. Without a realm it gets the default one.
    ///
    /// # Errors
    /// The library's, for text that is no principal.
    pub fn principal(&self, text: &str) -> Result<Krb5Principal, Krb5Error> {
        let text = c_string(text)?;
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the text ends with NUL, the last pointer is to a live local.
        self.check(unsafe { ffi::krb5_parse_name(self.raw(), text.as_ptr(), &mut raw) })?;
        Ok(Krb5Principal { library: self.clone(), raw })
    }
}

#[cfg(feature = "tools")]
impl Library {
    /// An enterprise name, `user@domain` as one component (RFC 6806 §5).
    ///
    /// # Errors
    /// The library's, for text that is no principal.
    pub(crate) fn enterprise(&self, name: &str) -> Result<Krb5Principal, Krb5Error> {
        let name = c_string(name)?;
        let flags = name_type(ffi::KRB5_PRINCIPAL_PARSE_ENTERPRISE);
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive, the name ends with NUL, the last pointer is to a live local.
        self.check(unsafe { ffi::krb5_parse_name_flags(self.raw(), name.as_ptr(), flags, &mut raw) })?;
        Ok(Krb5Principal::from_raw(self, raw))
    }

    /// The anonymous client, of this realm or the default one (RFC 8062 §3).
    ///
    /// # Errors
    /// The library's, if there is no default realm.
    pub(crate) fn anonymous(&self, realm: Option<&str>) -> Result<Krb5Principal, Krb5Error> {
        let name = match realm {
            Some(realm) => format!("WELLKNOWN/ANONYMOUS@{realm}"),
            None => format!("WELLKNOWN/ANONYMOUS@{}", self.default_realm()?),
        };
        let anonymous = self.principal(&name)?;
        // SAFETY: the principal was just made; nobody else knows it.
        unsafe { (*anonymous.raw()).type_ = name_type(ffi::KRB5_NT_WELLKNOWN) };
        Ok(anonymous)
    }

    /// The principal `host/NAME` of this machine.
    ///
    /// # Errors
    /// The library's.
    pub(crate) fn host(&self) -> Result<Krb5Principal, Krb5Error> {
        let kind = name_type(ffi::KRB5_NT_SRV_HST);
        let mut raw = ptr::null_mut();
        // SAFETY: the context is alive; null names mean this host and "host"; the last pointer is to a live local.
        let code =
            unsafe { ffi::krb5_sname_to_principal(self.raw(), ptr::null(), ptr::null(), kind, &mut raw) };
        self.check(code)?;
        Ok(Krb5Principal::from_raw(self, raw))
    }
}

/// Gives the principal the type NT-SRV-INST. A KDC gives referrals for it (RFC 6806 §8), and the library leaves the name as
/// it is. A host-based one would be renamed by what DNS and krb5.conf say.
///
/// # Safety
/// `principal` is alive and nobody else's.
pub(super) unsafe fn name_service_instance(principal: ffi::krb5_principal) {
    // SAFETY: by the caller's promise.
    unsafe { (*principal).type_ = name_type(ffi::KRB5_NT_SRV_INST) };
}

/// A number of the headers as calls take it.
fn name_type(number: u32) -> i32 {
    i32::try_from(number).unwrap_or_default()
}

/// The text as a C string. A NUL has no place in a name.
pub(super) fn c_string(name: &str) -> Result<CString, Krb5Error> {
    CString::new(name).map_err(|_| Krb5Error { code: libc::EINVAL, message: "a name holds a NUL".to_owned() })
}

/// A principal, owned.
pub struct Krb5Principal {
    library: Library,
    raw: ffi::krb5_principal,
}

impl Krb5Principal {
    /// Takes over a principal that the library made.
    pub(super) fn from_raw(library: &Library, raw: ffi::krb5_principal) -> Self {
        Self { library: library.clone(), raw }
    }

    pub(super) fn raw(&self) -> ffi::krb5_principal {
        self.raw
    }

    /// Realm and components. Bytes that are not UTF-8 become replacement characters, which match no other name.
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
    /// The parts between the slashes.
    pub components: Vec<String>,
}

impl fmt::Display for Name {
    /// For people, without the library's escapes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.components.join("/"), self.realm)
    }
}

impl Drop for Krb5Principal {
    fn drop(&mut self) {
        // SAFETY: owned, made by the library, freed here only.
        unsafe { ffi::krb5_free_principal(self.library.raw(), self.raw) };
    }
}

impl fmt::Display for Krb5Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&unparse(&self.library, self.raw))
    }
}

impl fmt::Debug for Krb5Principal {
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
}
