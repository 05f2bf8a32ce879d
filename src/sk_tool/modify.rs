//! `--modify`: gives a key file other attributes. The secret stays.

use std::path::Path;

use super::arguments::SkArguments;
use super::failure::SkFailure;
use super::files::{FileForm, KeyFile};
use super::make;
use super::place::LastLink;
use super::remark::remark;
use crate::creds::shared_key::KeyParts;
use crate::terminal::Terminal;
use crate::text::quoted_path;

pub(super) fn run(
    path: &Path,
    arguments: &SkArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), SkFailure> {
    let KeyFile { key, origin } = KeyFile::read(path, LastLink::Refused)?;
    origin.check_replaceable()?;
    let form = if arguments.ascii { FileForm::Text } else { origin.form };
    let key = make::complete(changed(key.into_parts(), arguments), terminal)?;
    origin.replace(&key, form)?;
    make::warn_of_weakness(path, &key, terminal);
    if arguments.verbose {
        remark(terminal.err, format_args!("{} rewritten: {}", quoted_path(path), key.types));
    }
    Ok(())
}

/// The parts as the options want them. A prime of another length, or of a key that is not for clients, is dropped.
fn changed(old: KeyParts, arguments: &SkArguments) -> KeyParts {
    let types = arguments.types.unwrap_or(old.types);
    let prime_bits = arguments.prime_bits.unwrap_or(old.prime_bits);
    let prime_stays = types.client && prime_bits == old.prime_bits;
    KeyParts {
        hmac: arguments.hmac.unwrap_or(old.hmac),
        cipher: arguments.crypt.unwrap_or(old.cipher),
        expire: arguments.expire.unwrap_or(old.expire),
        types,
        mgs_nids: arguments.mgsnids.clone().map_or(old.mgs_nids, |list| list.0),
        file_system: arguments.fsname.clone().unwrap_or(old.file_system),
        nodemap: arguments.nodemap.clone().unwrap_or(old.nodemap),
        secret: old.secret,
        prime_bits,
        prime: old.prime.filter(|_| prime_stays),
    }
}
