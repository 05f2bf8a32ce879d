//! The file of the upcall, which root executes for everybody: whose it is, and that it brings all its code along.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::fcntl::OFlag;

use super::finding::Finding;
use super::trial::BUILD_VERSION;
use super::trusted::{program, set_id};
use crate::sys::files::open_trusted;

/// The headers of a program are within its first bytes.
const HEADERS: u64 = 8192;
/// Kind of the entry that names a dynamic loader, PT_INTERP (elf(5)).
const LOADER: usize = 3;

/// Checks the file of the program that runs.
pub(crate) fn own() -> Finding {
    let install = "reinstall lgss_keyring";
    let path = match std::env::current_exe() {
        Ok(path) => path,
        Err(error) => {
            return Finding::error("upcall", format_args!("/proc/self/exe: {error}"), "mount /proc");
        }
    };
    let (mode, finding) = program("upcall", &path, install);
    let Some(mode) = mode else { return finding };
    fault(&path, mode)
        .unwrap_or_else(|| Finding::ok("upcall", format_args!("{}, version {BUILD_VERSION}", path.display())))
}

/// What is wrong with the file of an upcall that only root can change and that has this mode.
pub(crate) fn fault(path: &Path, mode: u32) -> Option<Finding> {
    set_id("upcall", path, mode).or_else(|| {
        let loader = loader(&headers(path)?)?;
        Some(Finding::warning(
            "upcall",
            format_args!("{} is not static: root also runs {loader} and what that loads", path.display()),
            "install the one that make build leaves in target/dist",
        ))
    })
}

/// Nothing if the caller may not read it.
fn headers(path: &Path) -> Option<Vec<u8>> {
    let file: File = open_trusted(path, OFlag::O_RDONLY).ok()?;
    let mut headers = Vec::new();
    file.take(HEADERS).read_to_end(&mut headers).ok()?;
    Some(headers)
}

/// The dynamic loader that a program of 64 bits asks for; a static one asks for none.
fn loader(headers: &[u8]) -> Option<String> {
    if !headers.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = headers.get(at..at.checked_add(length)?)?;
        bytes.iter().rev().try_fold(0_usize, |sum, &byte| sum.checked_mul(256)?.checked_add(byte.into()))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..count).find_map(|index| {
        let entry = table.checked_add(size.checked_mul(index)?)?;
        if number(entry, 4)? != LOADER {
            return None;
        }
        let (offset, length) = (number(entry.checked_add(8)?, 8)?, number(entry.checked_add(32)?, 8)?);
        let name = offset.checked_add(length).and_then(|end| headers.get(offset..end));
        let name = name.map(|name| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
        Some(name.unwrap_or_else(|| "a loader".to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_is_found_and_damaged_headers_are_no_fault() {
        let shell = std::fs::read("/bin/sh").unwrap();
        let found = loader(&shell).unwrap();
        assert!(found.starts_with("/lib") && found.contains("ld"), "{found}");
        for length in 0..200 {
            let cut = &shell[..length];
            assert!(loader(cut).is_none_or(|name| name == "a loader"), "{length}");
        }
        let mut wild = shell;
        for at in 32..64 {
            let was = std::mem::replace(&mut wild[at], 0xff);
            assert!(loader(&wild).is_none_or(|name| name == found || name == "a loader"), "{at}");
            wild[at] = was;
        }
        assert_eq!(loader(b"#!/bin/sh\n"), None);
    }
}
