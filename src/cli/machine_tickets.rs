//! `lgss flush --machine`: drops the tickets that requests of this machine share (docs/formats.md, "Run directory" and
//! "Machine tickets in keys").

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::config;
use super::exit::Exit;
use crate::creds::ticket_keys::{self, KeptKey};
use crate::terminal::Terminal;

/// Whether tickets are really dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Drop,
    /// Only report what would be dropped.
    DryRun,
}

pub(super) fn drop_all(mode: Mode, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    match config::of_lustre() {
        Ok(config) => drop_below(&config.run_dir.join("machine"), mode, terminal),
        Err(error) => {
            writeln!(terminal.err, "lgss: {error}")?;
            Ok(Exit::Incomplete)
        }
    }
}

fn drop_below(directory: &Path, mode: Mode, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let files = match files(directory) {
        Ok(files) => files,
        Err(error) => {
            writeln!(terminal.err, "lgss: {}: {error}", directory.display())?;
            return Ok(Exit::Incomplete);
        }
    };
    let (mut dropped, mut exit) = (0, Exit::Ok);
    for file in files {
        let removed = match mode {
            Mode::Drop => fs::remove_file(&file),
            Mode::DryRun => Ok(()),
        };
        match removed {
            Ok(()) if is_cache(&file) => dropped += 1,
            Err(error) if error.kind() != ErrorKind::NotFound => {
                writeln!(terminal.err, "lgss: {}: {error}", file.display())?;
                exit = Exit::Incomplete;
            }
            _ => {}
        }
    }
    match drop_keys(directory, mode) {
        Ok(keys) => dropped += keys,
        Err(errno) => {
            writeln!(terminal.err, "lgss: the user keyring: {}", errno.desc())?;
            exit = Exit::Incomplete;
        }
    }
    let (caches, verb) =
        (if dropped == 1 { "cache" } else { "caches" }, if mode == Mode::Drop { "" } else { "would be " });
    writeln!(terminal.out, "{dropped} {caches} of machine tickets {verb}dropped")?;
    Ok(exit)
}

/// Drops what keys hold in place of files. Whatever the settings are now, they may have been others.
fn drop_keys(directory: &Path, mode: Mode) -> Result<usize, Errno> {
    let kept = ticket_keys::kept_below(directory)?;
    if mode == Mode::Drop {
        kept.iter().try_for_each(KeptKey::drop_it)?;
    }
    Ok(kept.iter().filter(|key| key.is_cache).count())
}

/// Caches and their state files.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        // No tickets yet.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn is_cache(file: &Path) -> bool {
    file.extension().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::creds::ticket_keys::TicketKeyName;

    fn run(directory: &Path, mode: Mode) -> (String, Exit) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = drop_below(directory, mode, &mut Terminal { out: &mut out, err: &mut err }).unwrap();
        (String::from_utf8([out, err].concat()).unwrap(), exit)
    }

    #[test]
    fn caches_go_with_what_is_known_of_them_and_a_dry_run_leaves_them() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["3f", "3f.state", "a0", "a0.state", "b1.state"] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        let count = || fs::read_dir(directory.path()).unwrap().count();
        assert!(
            run(directory.path(), Mode::DryRun).0.starts_with("2 caches of machine tickets would be dropped")
        );
        assert_eq!(count(), 5);
        assert_eq!(
            run(directory.path(), Mode::Drop),
            ("2 caches of machine tickets dropped\n".to_owned(), Exit::Ok)
        );
        assert_eq!(count(), 0);
        let name = TicketKeyName::of(&directory.path().join("3f")).unwrap();
        let long = std::time::Duration::from_secs(60);
        ticket_keys::StagedKeys::make(&name).unwrap().store(&[1; 9000], long).unwrap();
        assert!(
            run(directory.path(), Mode::DryRun).0.starts_with("1 cache of machine tickets would be dropped")
        );
        assert!(ticket_keys::is_there(&name));
        let dropped = ("1 cache of machine tickets dropped\n".to_owned(), Exit::Ok);
        assert_eq!(run(directory.path(), Mode::Drop), dropped);
        assert!(ticket_keys::kept_below(directory.path()).unwrap().is_empty());
        let (said, exit) = run(&directory.path().join("absent"), Mode::Drop);
        assert_eq!((said.as_str(), exit), ("0 caches of machine tickets dropped\n", Exit::Ok));
        let (said, exit) = run(Path::new("/proc/self/status"), Mode::Drop);
        assert!(said.contains("/proc/self/status") && exit == Exit::Incomplete, "{said}");
    }
}
