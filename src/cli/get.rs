//! `lgss get`: requests a context for the calling user, and reports the outcome as text or JSON.
//!
//! As text, the first line on standard output starts with `key` and the decimal number, and all complaints go to
//! standard error; as JSON, one object on standard output has everything, whatever the outcome.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::arguments::GetArgs;
use super::caches;
use super::exit::Exit;
use super::outcome::{self, End};
use super::words;
use crate::creds::cache_name::CacheName;
use crate::ctx::client::{self, ClientError, ContextKey, Destination, Obtained, Provenance, Stale};
use crate::ctx::initiator::Principal;
use crate::ctx::payload::user::State;
use crate::ctx::request::OnPause;
use crate::ctx::rings::{self, Session};
use crate::ctx::{Context, ContextRequest, NoContext, OsError};
use crate::event::{self, NO_UPCALL};
use crate::provider::contexts::report::{self, FailureReport};
use crate::terminal::wait_line::{self, Output, WaitLine};
use crate::terminal::{Terminal, results};
use crate::time;

const FOUND: &str = "which you had already";

pub(super) fn run(get: &GetArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let start = Instant::now();
    let end = match cache(get.cache.as_deref()) {
        Ok(cache) => request(get, cache, terminal)?,
        Err(complaint) => End::Unusable(complaint),
    };
    if get.json {
        results::json(&outcome::GetReport::of(&end, get, start.elapsed()), terminal.out)?;
    } else {
        text(&end, start.elapsed(), terminal)?;
    }
    Ok(end.exit())
}

fn request(get: &GetArgs, cache: Option<String>, terminal: &mut Terminal<'_>) -> io::Result<End> {
    let request = ContextRequest {
        level: get.level,
        cache,
        principal: get.principal.clone(),
        on_pause: OnPause::Break,
        ..ContextRequest::new(get.service.clone(), get.channel.clone())
    };
    let expected = get.principal.clone().or_else(|| expected(&request));
    let start = Instant::now();
    let mut ask = || ask(get, &request, expected.as_ref(), start, terminal);
    match ask()? {
        // The context found in progress turned out to speak for another principal.
        End::Settled { found: true, state: State::Established(context), .. }
            if get.principal.as_ref().is_some_and(|principal| !speaks_for(&context, principal)) =>
        {
            ask()
        }
        end => Ok(end),
    }
}

fn speaks_for(context: &Context, principal: &Principal) -> bool {
    context.initiator.as_ref().is_some_and(|initiator| initiator.principal == *principal)
}

fn ask(
    get: &GetArgs,
    request: &ContextRequest,
    expected: Option<&Principal>,
    start: Instant,
    terminal: &mut Terminal<'_>,
) -> io::Result<End> {
    let Obtained { key, provenance } = match client::request_shared(request, expected) {
        Ok(asked) => asked,
        Err(error) => return Ok(End::NotRequested(error)),
    };
    if !get.json {
        // Printed before the outcome is known: an impatient user then knows the key.
        let place = match &provenance {
            Provenance::Earlier => FOUND.to_owned(),
            Provenance::New => new_key_place(),
            Provenance::Replaced(stale) => format!("{}, {}", new_key_place(), in_place_of(stale)),
        };
        writeln!(terminal.out, "key {}, {place}: {}", words::key(key.serial()), get.service)?;
        terminal.out.flush()?;
    }
    let state = wait(key, get, get.timeout.saturating_sub(start.elapsed()), terminal);
    let found = provenance == Provenance::Earlier;
    Ok(match state? {
        Ok(state) => End::Settled { key, found, state },
        Err(error) => End::Unreadable { key, found, error: outcome::revoked_if_flushed(key, error) },
    })
}

/// Waits for the outcome, with a line about the wait if a person is at the terminal.
fn wait(
    key: ContextKey,
    get: &GetArgs,
    limit: Duration,
    terminal: &mut Terminal<'_>,
) -> io::Result<Result<State, ClientError>> {
    let mut line = WaitLine::new(if get.json { Output::Json } else { Output::Text });
    if !line.is_wanted() {
        return Ok(key.wait(limit));
    }
    let (start, what) = (Instant::now(), format!("lgss: waiting for {}", get.service));
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let state = key.wait(left.min(wait_line::STEP));
        if !matches!(state, Ok(State::InProgress)) || left.is_zero() {
            line.end(terminal.err)?;
            return Ok(state);
        }
        line.show(&what, "Ctrl-C stops waiting; the negotiation continues", terminal.err)?;
    }
}

fn in_place_of(stale: &Stale) -> String {
    match stale {
        Stale::Failed(errno) => format!("in place of one that had failed ({errno:?})"),
        Stale::Ended => "in place of one that has ended".to_owned(),
        Stale::Another(principal) => format!("in place of the one of {principal}"),
        Stale::Unnamed => "in place of one that does not say whom it speaks for".to_owned(),
    }
}

/// The principal that a new context would speak for, if there is an old one that names its principal: the caches may
/// have changed hands since.
fn expected(request: &ContextRequest) -> Option<Principal> {
    let state = client::find(&request.service, None).ok()??.state().ok()?;
    let State::Established(Context { initiator: Some(_), .. }) = state else { return None };
    match &request.cache {
        Some(cache) => caches::principal_of(cache),
        None => caches::expected_principal(&request.service),
    }
}

/// The cache for the request, if one is named; checks that a request can hold the name.
fn cache(option: Option<&str>) -> Result<Option<String>, String> {
    let Some(name) = option else { return Ok(None) };
    name.parse::<CacheName>().map_err(|error| format!("--cache: {error}"))?;
    if name.contains(';') || name.bytes().any(|byte| !(0x20..0x7f).contains(&byte)) {
        return Err(
            "--cache: the name contains characters that a request cannot hold (`;`, non-ASCII)".to_owned()
        );
    }
    Ok(Some(name.to_owned()))
}

/// The keyring with a new context, for people.
fn new_key_place() -> String {
    match (client::destination(), rings::session()) {
        (Ok(Destination::User), Session::Own) => "linked to your user keyring".to_owned(),
        (Ok(Destination::User), session) => {
            format!("linked to your user keyring, since {}", words::session(session))
        }
        _ => "linked to your session keyring".to_owned(),
    }
}

fn text(end: &End, waited: Duration, terminal: &mut Terminal<'_>) -> io::Result<()> {
    let waited = time::waited(waited);
    let err = &mut *terminal.err;
    match end {
        End::Unusable(complaint) => writeln!(err, "lgss: {complaint}"),
        End::NotRequested(error) => not_requested(error, err),
        End::Settled { state: State::Established(context), .. } => {
            writeln!(terminal.out, "established after {waited}: {}", report::one_line_summary(context))?;
            let unmet = context.initiator.as_ref().and_then(|initiator| initiator.unmet.as_ref());
            unmet.map_or(Ok(()), |unmet| writeln!(err, "  note:   {unmet}"))
        }
        End::Settled { state: State::InProgress, key, .. } => {
            writeln!(err, "lgss: still in progress after {waited}; the negotiation goes on")?;
            writeln!(err, "  try:    lgss show {}", key.serial().raw())
        }
        End::Settled { state: State::Failed(no_context), key, .. } => {
            let failure = FailureReport::of(no_context);
            let NoContext { errno, gss_major, .. } = no_context;
            let gss = if *gss_major == 0 {
                String::new()
            } else {
                format!(" (GSS major status {gss_major:#010x})")
            };
            writeln!(err, "lgss: no context after {waited}: {errno:?}: {}{gss}", failure.cause)?;
            advise(&failure, *key, err)
        }
        End::Unreadable { error, key, .. } => {
            writeln!(err, "lgss: no context: {error}")?;
            advise(&outcome::unreadable(error), *key, err)
        }
    }
}

fn advise(failure: &FailureReport, key: ContextKey, err: &mut dyn Write) -> io::Result<()> {
    let detail = failure.in_full();
    if let Some(detail) = &detail {
        writeln!(err, "  detail: {detail}")?;
    }
    writeln!(err, "  try:    {}", failure.remedy)?;
    match (detail, words::where_more_is()) {
        (None, _) => writeln!(err, "  reason: in {}, key {}", words::where_the_reason_is(), key.serial()),
        (Some(_), Some(more)) => writeln!(err, "  more:   in {more}, key {}", key.serial()),
        // The detail is all that is known.
        (Some(_), None) => Ok(()),
    }
}

/// Reports a request that failed without a key, before the negotiation.
fn not_requested(error: &ClientError, err: &mut dyn Write) -> io::Result<()> {
    let errno = match *error {
        ClientError::NoUpcall => {
            writeln!(err, "lgss: the request failed at once: ENOKEY: {}", NO_UPCALL.cause)?;
            return writeln!(err, "  try:    {}", NO_UPCALL.remedy);
        }
        ClientError::Request(OsError(errno)) => errno,
        ClientError::Session(OsError(errno)) => {
            writeln!(err, "lgss: {}", words::session(Session::Dead(errno)))?;
            return writeln!(err, "  try:    {}", words::NEW_SESSION);
        }
        _ => return writeln!(err, "lgss: {error}"),
    };
    let event::Meaning { cause, remedy } = outcome::refusal(errno);
    writeln!(err, "lgss: the request failed at once: {errno:?}: {cause}")?;
    writeln!(err, "  try:    {remedy}")?;
    writeln!(err, "  reason: in {}", words::where_the_reason_is())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_option_the_choice_is_the_upcalls() {
        assert_eq!(cache(Some("KCM:")), Ok(Some("KCM:".to_owned())));
        assert_eq!(cache(None), Ok(None));
    }

    #[test]
    fn a_cache_that_the_upcall_could_not_use_is_a_usage_error() {
        for (value, part) in
            [("MEMORY:x", "MEMORY"), ("FILE:relative", "absolute"), ("FILE:/tmp/a;ttl=1", "`;`")]
        {
            let complaint = cache(Some(value)).unwrap_err();
            assert!(complaint.starts_with("--cache: ") && complaint.contains(part), "{complaint}");
        }
    }
}
