//! `--read`: prints a key file's attributes under the labels of Lustre's tool, one on a line.

use std::io::{self, Write};
use std::path::Path;

use super::arguments::SkArguments;
use super::failure::SkFailure;
use super::file_trouble::STANDARD_INPUT;
use super::files::{self, KeyFile};
use super::place::LastLink;
use crate::creds::shared_key::SharedKey;
use crate::nid::Nid;
use crate::terminal::Terminal;
use crate::text::escaped;

pub(super) fn run(
    path: &Path,
    arguments: &SkArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), SkFailure> {
    let key = match path == Path::new(STANDARD_INPUT) {
        true => files::read_standard_input()?,
        false => KeyFile::read(path, LastLink::Followed)?.key,
    };
    attributes(&key, terminal.out)?;
    match arguments.show_secret {
        true => bytes("Shared key", key.secret.expose(), terminal.out)?,
        false => writeln!(terminal.out, "Shared key:     hidden; --show-secret prints it")?,
    }
    if let Some(prime) = key.prime() {
        bytes("Prime (p)", prime, terminal.out)?;
    }
    Ok(())
}

fn attributes(key: &SharedKey, out: &mut dyn Write) -> io::Result<()> {
    let types: Vec<&str> = key.types.words().collect();
    let nids: Vec<String> = key.mgs_nids.iter().map(Nid::to_string).collect();
    for (label, value) in [
        ("Version", "1".to_owned()),
        ("Type", types.join(" ")),
        ("HMAC alg", key.hmac.shown_name().to_owned()),
        ("Crypto alg", key.cipher.shown_name().to_owned()),
        ("Ctx Expiration", format!("{} seconds", key.expire)),
        ("Shared keylen", format!("{} bits", key.secret.len() * 8)),
        ("Prime length", format!("{} bits", key.prime_bits)),
        ("File system", escaped(&key.file_system).into_owned()),
        ("MGS NIDs", nids.join(" ")),
        ("Nodemap name", escaped(&key.nodemap).into_owned()),
    ] {
        writeln!(out, "{}", format!("{:<16}{value}", format!("{label}:")).trim_end())?;
    }
    Ok(())
}

/// A label, then 16 bytes on each line in hexadecimal.
fn bytes(label: &str, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{label}:")?;
    for (number, line) in bytes.chunks(16).enumerate() {
        write!(out, "  {:04x}:", number * 16)?;
        for pair in line.chunks(2) {
            write!(out, " ")?;
            pair.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
        }
        writeln!(out)?;
    }
    Ok(())
}
