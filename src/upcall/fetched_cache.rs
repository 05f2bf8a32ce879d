//! The cache in what the site's hook has written for a user.
//!
//! Called by the launcher when it has become the user: what is taken apart here is nothing that root should read. Invariant: the cache
//! is in memory only, and zeroed.
#![forbid(unsafe_code)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::creds::source::Source;
use crate::event::{Cause, Failure, Stage};
use crate::hook::{CacheAnswer, HookOutput};
use crate::sys::files::sealed_memory;

/// The cache's name for people. Users do not learn the hook's.
const PLACE: &str = "HOOK:";

/// The cache in what the hook has written; `None` if it says that it has none. Called with the user's rights.
pub(super) fn source(output: &HookOutput) -> Option<Source> {
    let bad = |what: &str| {
        let failure = Failure::new(Stage::Credentials, Cause::BadCache, format_args!("{PLACE} {what}"));
        Some(Source::objection(&PLACE, &failure))
    };
    let encoded = match output.result::<CacheAnswer>() {
        Ok(CacheAnswer { ccache }) => ccache?,
        Err(_) => return bad("what the site's hook has written is not what is expected"),
    };
    let mut content = Zeroizing::new(vec![0; encoded.len()]);
    let length = match STANDARD.decode_slice(encoded.expose(), &mut content) {
        Ok(length) => length,
        Err(_) => return bad("what the site's hook has written is not what is expected"),
    };
    match sealed_memory(content.get(..length).unwrap_or_default()) {
        Ok(sealed) => Some(Source::opened(PLACE.to_owned(), sealed)),
        Err(_) => bad("there is no memory for what the site's hook has"),
    }
}
