//! `lgss get`: a context for the calling user, and in words what became of it.
//!
//! The first line on standard output starts with `key` and the decimal number; all complaints go to standard error.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Terminal;
use super::arguments::Get;
use super::exit::Exit;
use super::{report, words};
use crate::creds::cache_name::CacheName;
use crate::ctx::client::{self, ClientError, ContextKey};
use crate::ctx::payload::user::State;
use crate::ctx::request::{Callout, Description, Mechanism};
use crate::event;

/// Libkrb5's name of the cache to use. The upcall does not look into anybody's environment, so we name the cache.
const CACHE_VARIABLE: &str = "KRB5CCNAME";

/// A failed key answers for the negative-cache time: somebody who has just run kinit must know that.
const REMEMBERED: &str =
    "  note:   this is the answer to an earlier request; a failure is remembered for ten seconds or so";

pub(super) fn run(get: &Get, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let cache = match cache(get.cache.as_deref(), env::var_os(CACHE_VARIABLE)) {
        Ok(cache) => cache,
        Err(complaint) => {
            writeln!(terminal.err, "lgss: {complaint}")?;
            return Ok(Exit::Usage);
        }
    };
    let description =
        Description { owner: client::calling_user(), service: get.service.clone(), instance: None };
    let callout = Callout {
        mechanism: Mechanism::Krb5,
        service: get.service.clone(),
        channel: get.channel.clone(),
        level: get.level,
        cache,
        ttl: None,
    };
    let had = client::find(&description).ok().flatten();
    let start = Instant::now();
    match client::request(&description, &callout) {
        Ok(key) => {
            let requested = Requested { key, start, was_there: had == Some(key) };
            announce(&requested, get, terminal.out)?;
            outcome(&requested, get, terminal)
        }
        Err(error) => not_requested(&error, terminal.err),
    }
}

/// The cache to name in the request: the option's, else the environment's, else none.
fn cache(option: Option<&str>, environment: Option<OsString>) -> Result<Option<String>, String> {
    let (name, source) = match (option, environment.filter(|value| !value.is_empty())) {
        (Some(name), _) => (name.to_owned(), "--cache"),
        (None, Some(value)) => (value.to_string_lossy().into_owned(), CACHE_VARIABLE),
        (None, None) => return Ok(None),
    };
    name.parse::<CacheName>().map_err(|error| format!("{source}: {error}"))?;
    if name.contains(';') || name.bytes().any(|byte| !(0x20..0x7f).contains(&byte)) {
        return Err(format!(
            "{source}: the name of the cache holds characters that a request cannot (`;`, non-ASCII)"
        ));
    }
    Ok(Some(name))
}

struct Requested {
    key: ContextKey,
    start: Instant,
    /// Whether an earlier request made it.
    was_there: bool,
}

/// Before the outcome is known, so that somebody who gets impatient knows the key.
fn announce(requested: &Requested, get: &Get, out: &mut dyn Write) -> io::Result<()> {
    let place = match client::destination() {
        _ if requested.was_there => "which you had already",
        Ok(client::Destination::User) => "linked to your user keyring",
        _ => "linked to your session keyring",
    };
    writeln!(out, "key {}, {place}: {}", words::key(requested.key.serial()), get.service)?;
    out.flush()
}

fn outcome(requested: &Requested, get: &Get, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let &Requested { key, start, was_there } = requested;
    let state = key.wait(get.timeout.saturating_sub(start.elapsed()));
    let waited = words::waited(start.elapsed());
    match state {
        Ok(State::Established(context)) => {
            writeln!(terminal.out, "established after {waited}: {}", report::in_one_line(&context))?;
            Ok(Exit::Ok)
        }
        Ok(State::Failed { errno, gss_major }) => {
            let gss =
                if gss_major == 0 { String::new() } else { format!(" (GSS major status {gss_major:#010x})") };
            let event::Meaning { cause, remedy } = event::meaning(errno);
            writeln!(terminal.err, "lgss: no context after {waited}: {errno:?}: {cause}{gss}")?;
            advise(remedy, key, terminal.err)?;
            if was_there {
                writeln!(terminal.err, "{REMEMBERED}")?;
            }
            Ok(Exit::of_failure(errno))
        }
        Ok(State::InProgress) => still_in_progress(key, start.elapsed(), terminal.err),
        Err(error) => unreadable(&error, key, terminal.err),
    }
}

fn advise(remedy: &str, key: ContextKey, err: &mut dyn Write) -> io::Result<()> {
    writeln!(err, "  try:    {remedy}")?;
    writeln!(err, "  reason: in {} (key {})", event::WHERE_THE_REASON_IS, key.serial())
}

fn still_in_progress(key: ContextKey, waited: Duration, err: &mut dyn Write) -> io::Result<Exit> {
    writeln!(err, "lgss: still in progress after {}; the negotiation goes on", words::waited(waited))?;
    writeln!(err, "  try:    lgss show {}", key.serial().raw())?;
    Ok(Exit::Unreachable)
}

fn unreadable(error: &ClientError, key: ContextKey, err: &mut dyn Write) -> io::Result<Exit> {
    writeln!(err, "lgss: no context: {error}")?;
    match error {
        ClientError::Read(Errno::EKEYEXPIRED) => {
            advise("look for what takes so long: network, KDC, server", key, err)?;
            Ok(Exit::Unreachable)
        }
        ClientError::Read(Errno::EKEYREVOKED) => {
            advise("request it again", key, err)?;
            Ok(Exit::Failed)
        }
        _ => {
            advise("see whether your session keyring leads to the key: keyctl show", key, err)?;
            Ok(Exit::Unreadable)
        }
    }
}

/// There is no key: the request went wrong before the negotiation.
fn not_requested(error: &ClientError, err: &mut dyn Write) -> io::Result<Exit> {
    let ClientError::Request(errno) = *error else {
        writeln!(err, "lgss: {error}")?;
        return Ok(Exit::Usage);
    };
    // ENOKEY is the kernel's here: our upcall puts it into keys, and never gives it for an answer.
    let (cause, remedy) = match errno {
        Errno::ENOKEY => (
            "no upcall answered the request",
            "see that lgss is installed (/etc/request-key.d/lgss.conf); after a change wait a minute, the kernel remembers",
        ),
        Errno::ETIMEDOUT => ("the upcall could not look at the requester in time", "try again"),
        Errno::EACCES | Errno::EPERM => (
            "the upcall refuses the request, or your keyring cannot be written to",
            "look at your keyring: keyctl show",
        ),
        other => {
            let event::Meaning { cause, remedy } = event::meaning(other);
            (cause, remedy)
        }
    };
    writeln!(err, "lgss: the request failed at once: {errno:?}: {cause}")?;
    writeln!(err, "  try:    {remedy}")?;
    writeln!(err, "  reason: in {}", event::WHERE_THE_REASON_IS)?;
    Ok(if errno == Errno::ENOKEY { Exit::Failed } else { Exit::of_failure(errno) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_names_the_cache_before_the_environment_does() {
        let environment = || Some(OsString::from("/tmp/krb5cc_environment"));
        assert_eq!(cache(Some("KCM:"), environment()), Ok(Some("KCM:".to_owned())));
        assert_eq!(cache(None, environment()), Ok(Some("/tmp/krb5cc_environment".to_owned())));
        assert_eq!(cache(None, Some(OsString::new())), Ok(None));
        assert_eq!(cache(None, None), Ok(None));
    }

    #[test]
    fn a_cache_that_the_upcall_could_not_use_is_a_usage_error_that_names_its_source() {
        for (value, part) in
            [("MEMORY:x", "MEMORY"), ("FILE:relative", "absolute"), ("FILE:/tmp/a;ttl=1", "`;`")]
        {
            let complaint = cache(None, Some(value.into())).unwrap_err();
            assert!(complaint.starts_with("KRB5CCNAME: ") && complaint.contains(part), "{complaint}");
        }
    }
}
