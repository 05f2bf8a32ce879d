//! Checks for the fuzz targets (docs/fuzzing.md): our reading of krb5.conf against the library's, and the library itself
//! with what users and servers can give to it.
#![forbid(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use super::context::{GssInitiator, InitiatorStep, ProtectionFlags};
use super::keytab::Keytab;
use super::krb5::Library;
use super::krb5_conf::{self, ConfReader, Effect};
use super::listing::TicketInfo;
use super::ticket::Cache;
use crate::sys::files::sealed_memory;
use crate::wire::{WireError, Writer};

pub use super::trace::fuzz::trace;

/// Asks nobody.
const CONFIGURATION: &[u8] = b"[libdefaults]\n default_realm = EXAMPLE.TEST\n dns_lookup_kdc = false\n \
    dns_lookup_realm = false\n dns_canonicalize_hostname = false\n[realms]\n EXAMPLE.TEST = {\n }\n";
const REALM: &str = "EXAMPLE.TEST";
const ENTRIES: usize = 64;
/// The library's numbers for errors in the text of a profile.
const PROFILE_ERRORS: std::ops::Range<i32> = -1_429_577_728..-1_429_577_728 + 256;

thread_local! {
    static LIBRARY: Option<(Library, OwnedFd)> = library_with(CONFIGURATION).ok();
}

fn library_with(configuration: &[u8]) -> Result<(Library, OwnedFd), i32> {
    let (file, path) = in_memory(configuration).ok_or(0)?;
    Library::open_with(&path).map(|library| (library, file)).map_err(|error| error.code)
}

fn with_library(use_it: impl FnOnce(&Library)) {
    LIBRARY.with(|library| {
        assert!(library.is_some(), "MIT Kerberos cannot be used");
        if let Some((library, _)) = library {
            use_it(library);
        }
    });
}

fn in_memory(content: &[u8]) -> Option<(OwnedFd, PathBuf)> {
    let file = sealed_memory(content).ok()?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Some((file, path))
}

/// Whether it would have the library read other files of this machine, or run code from them.
fn leads_away(configuration: &[u8]) -> bool {
    [&b"include"[..], b"module", b"plugin"]
        .iter()
        .any(|word| configuration.windows(word.len()).any(|there| there.eq_ignore_ascii_case(word)))
}

/// krb5.conf: a fault is fatal for us if and only if it is for the library.
pub fn krb5_conf(data: &[u8]) {
    if leads_away(data) {
        return;
    }
    let Some((_file, path)) = in_memory(data) else { return };
    let faults = krb5_conf::faults(&path, ConfReader::Ourselves);
    let fatal = faults.iter().any(|fault| fault.effect == Effect::Fatal);
    let lines = data.iter().filter(|&&byte| byte == b'\n').count() + 1;
    assert!(faults.iter().all(|fault| fault.line.is_none_or(|line| (1..=lines).contains(&line))));
    match library_with(data) {
        Ok((library, _)) => {
            assert!(!fatal, "the library takes it: {faults:?}");
            let _ = library.permitted(&[]);
            let _ = library.libdefault(c"default_ccache_name", c"none");
        }
        Err(code) => assert!(fatal || !PROFILE_ERRORS.contains(&code), "error {code} is not foreseen"),
    }
}

/// A credential cache in a file; returns how many tickets the library found in it.
pub(crate) fn cache(data: &[u8]) -> Option<usize> {
    let (_file, path) = in_memory(data)?;
    let mut found = None;
    with_library(|library| found = look_into(library, &path.display().to_string()));
    found
}

fn look_into(library: &Library, path: &str) -> Option<usize> {
    let cache = Cache::resolve(library, &format!("FILE:{path}")).ok()?;
    let (_, tickets) = cache.contents().ok()?;
    let _ = cache.granting(REALM);
    if let Ok(copy) = cache.in_memory() {
        let copied = copy.open().and_then(|copy| copy.contents()).map(|(_, tickets)| tickets);
        assert!(copied.is_ok_and(|copied| copied.len() <= tickets.len()));
    }
    let file = cache.as_file(0).ok()?;
    let (_written, path) = in_memory(file.expose())?;
    let written =
        Cache::resolve(library, &format!("FILE:{}", path.display())).and_then(|file| file.contents());
    let kept = |facts: &&TicketInfo| facts.end > 0;
    assert_eq!(
        written.ok().map(|(_, written)| written),
        Some(tickets.iter().filter(kept).cloned().collect())
    );
    Some(tickets.len())
}

/// A keytab.
pub fn keytab(data: &[u8]) {
    let Some((_file, path)) = in_memory(data) else { return };
    with_library(|library| {
        let keytab = Keytab::resolve(library, &format!("FILE:{}", path.display()));
        let entries = keytab.and_then(|keytab| keytab.entries(ENTRIES)).unwrap_or_default();
        assert!(entries.len() <= ENTRIES);
        entries.iter().for_each(|entry| drop(entry.principal.name()));
    });
}

/// The name of a principal.
pub fn principal(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    with_library(|library| {
        let Ok(principal) = library.principal(text) else { return };
        let written = principal.to_string();
        let again = library.principal(&written).map(|again| again.name());
        assert_eq!(again.ok(), Some(principal.name()), "{written:?}");
    });
}

/// A server's answer to our first token.
pub fn server_token(data: &[u8]) {
    let Some((_file, path)) = own_cache().ok().and_then(|cache| in_memory(cache.as_slice())) else { return };
    with_library(|library| {
        let begun = begin(library, &path.display().to_string());
        assert!(begun.is_some(), "no context can be begun");
        let Some(initiator) = begun else { return };
        let _ = initiator.explain_skew(data);
        if let Ok(InitiatorStep::Complete(context, _)) = initiator.step(data) {
            assert!(!context.granted().mutual(), "a server without a key is taken for the real one");
        }
    });
}

fn begin(library: &Library, path: &str) -> Option<GssInitiator> {
    let cache = Cache::resolve(library, &format!("FILE:{path}")).ok()?;
    let service = library.principal("nfs/srv.example.test@EXAMPLE.TEST").ok()?;
    let ticket = cache.service_ticket(&cache.principal().ok()?, &service).ok()?;
    match GssInitiator::new(&ticket, ProtectionFlags::Integrity).and_then(|initiator| initiator.step(&[])) {
        Ok(InitiatorStep::Continue(initiator, _)) => Some(initiator),
        _ => None,
    }
}

/// A cache in a file with one ticket, which no server can decrypt.
fn own_cache() -> Result<Writer, WireError> {
    const FOR_EVER: u32 = 0x7fff_0000;
    let mut file = Writer::new();
    file.bytes(&[5, 4, 0, 0]);
    for _ in 0..2 {
        name(&mut file, &["alice"])?;
    }
    name(&mut file, &["nfs", "srv.example.test"])?;
    file.bytes(&[0, 18]);
    counted(&mut file, b"throw-away key of the fuzz tests")?;
    file.u32_be(1).u32_be(1).u32_be(FOR_EVER).u32_be(0).u8(0).u32_be(0).u32_be(0).u32_be(0);
    counted(&mut file, &ticket())?;
    counted(&mut file, &[])?;
    Ok(file)
}

fn name(file: &mut Writer, components: &[&str]) -> Result<(), WireError> {
    file.u32_be(1).u32_be(u32::try_from(components.len()).unwrap_or(0));
    counted(file, REALM.as_bytes())?;
    components.iter().try_for_each(|component| counted(file, component.as_bytes()))
}

fn counted(file: &mut Writer, bytes: &[u8]) -> Result<(), WireError> {
    file.u32_be(u32::try_from(bytes.len()).map_err(|_| WireError::Truncated)?).bytes(bytes);
    Ok(())
}

/// The DER of a ticket (RFC 4120 §5.3).
fn ticket() -> Vec<u8> {
    let text = |text: &str| der(0x1b, &[text.as_bytes()]);
    let number = |number: u8| der(0x02, &[&[number]]);
    let names = der(0x30, &[&text("nfs"), &text("srv.example.test")]);
    let service = der(0x30, &[&der(0xa0, &[&number(1)]), &der(0xa1, &[&names])]);
    let sealed = der(0x30, &[&der(0xa0, &[&number(18)]), &der(0xa2, &[&der(0x04, &[&[7; 64]])])]);
    let parts = [number(5), text(REALM), service, sealed];
    let parts: Vec<Vec<u8>> = (0xa0..).zip(&parts).map(|(tag, part)| der(tag, &[part])).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    der(0x61, &[&der(0x30, &parts)])
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    // Always with a length in a byte of its own beyond 127; nothing here has more than 255 bytes.
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [head, content].concat()
}
