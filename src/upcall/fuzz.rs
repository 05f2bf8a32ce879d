//! Checks for the fuzz targets (docs/fuzzing.md): the words of an upcall, what a worker reports, files below the run
//! directory.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use super::backoff::{FailureRecord, LastFailure};
use super::check::{AgreedContext, check};
use super::container::unified_path;
use super::failures::{LineCount, RememberedFailure, count};
use super::final_payload::kernels_payload;
use super::invocation::Invocation;
use super::log_budget::LineRecord;
use super::order::Order;
use super::own_cache::CacheState;
use super::ready;
use crate::class::Private;
use crate::config::{Backoff, Config, Enctypes};
use crate::ctx::fuzz::is_same;
use crate::ctx::payload::user;
use crate::ctx::{HANDLE_LIMIT, State};
use crate::event::{Cause, Failure, Stage};
use crate::negotiate::messages::{Considered, Established};
use crate::secret::Secret;

/// The words of an upcall, each ended by a zero byte.
pub fn words(data: &[u8]) {
    let words = data.split(|&byte| byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let invocation = match Invocation::parse(words) {
        Ok(invocation) => invocation,
        Err(unusable) => return is_shown(&unusable.offence),
    };
    assert!(invocation.key.raw() > 0);
    match Order::read(&invocation) {
        Ok(order) => {
            is_shown(&order.target());
            let (uid, _) = order.owner(&invocation);
            // Only the kernel's own requests may name another user.
            assert!(order.lustre().is_some() || uid == invocation.uid);
            let _ = order.credentials(&invocation, &Config::default());
        }
        Err(garbled) => {
            is_shown(&garbled.failure.detail);
            garbled.target.iter().for_each(|target| is_shown(target));
        }
    }
}

fn is_shown(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// A context that a worker reports: `key's length · handle's length · key · handle · fields · principal`.
pub fn reported_context(data: &[u8]) {
    let Some((&[key, handle], rest)) = data.split_first_chunk() else { return };
    let (key, rest) = rest.split_at(rest.len().min(key.into()));
    let (handle, rest) = rest.split_at(rest.len().min(usize::from(handle) * 4));
    let Some((fields, principal)) = rest.split_first_chunk::<16>() else { return };
    let field = |at: usize| {
        let bytes = fields.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    };
    let text = String::from_utf8_lossy(principal).into_owned();
    let reported = Established {
        enctype: field(0) & 0x1f,
        acceptor_subkey: field(0) & 0x80 != 0,
        endtime: field(4) | 0x8000_0000,
        send_sequence: Private::new(field(8).into()),
        lifetime: field(8),
        window: field(12),
        credential: text.clone(),
        server: text.clone(),
        principal: text.clone(),
        unmet: Some(text),
        considered: Considered::default(),
        stages: Vec::new(),
        trail: Vec::new(),
    };
    let Ok(agreed) = check(reported, Secret::new(key.to_vec()), handle, &Enctypes::default()) else { return };
    assert!((1..=HANDLE_LIMIT).contains(&handle.len()) && agreed.lifetime.as_secs() > 0);
    is_shown(&agreed.credential);
    is_shown(&agreed.server);
    assert!(kernels_payload(&agreed.context).is_ok());
    let AgreedContext::Kerberos(context) = &agreed.context else { return };
    let payload = user::established(context);
    let read = payload.ok().and_then(|payload| user::parse(payload.as_slice()).ok());
    assert!(matches!(read, Some(State::Established(read)) if is_same(&read, context)));
}

/// `owners/<owner>`: the record of failures of an owner.
pub fn failure_record(data: &[u8]) {
    let Some(record) = text_of::<FailureRecord>(data) else { return };
    assert_eq!(record.to_string().parse::<FailureRecord>(), Ok(record.clone()));
    let backoff = Backoff::default();
    for now in [Duration::ZERO, Duration::from_secs(1000), Duration::from_millis(u64::MAX)] {
        let _ = (record.is_over(now, &backoff), record.forbids_anew(now), record.in_words(1000));
        let _ = (record.break_pause(now), record.look(1000, now));
        let ended = record.clone().without_pause(now);
        assert_eq!(ended.pause_left(now), None);
        let failure = Failure::new(Stage::Kdc, Cause::KdcDown, "no KDC");
        let what = LastFailure::of(&failure, 1000).with(Some(vec![1]));
        let next = FailureRecord::after_failure(Some(record.clone()), now, what, &backoff);
        // A pause that had begun before stays as it was.
        let left = next.pause_left(now).unwrap_or_default();
        assert!(left <= backoff.longest.0.max(record.pause_left(now).unwrap_or_default()));
    }
}

/// `log/<owner>`: the count of an owner's lines.
pub fn line_record(data: &[u8]) {
    let Some(record) = std::str::from_utf8(data).ok().and_then(LineRecord::parse) else { return };
    for now in [0, 1000, u64::MAX] {
        for limit in [1, 200] {
            let (next, _) = record.next(now, Duration::from_secs(60), limit);
            assert_eq!(LineRecord::parse(&next.text()), Some(next));
        }
    }
}

/// `failures/*` and `machine/*.failed`: failures that are remembered, and how often one was told.
pub fn remembered(data: &[u8]) {
    if let Ok(remembered) = serde_json::from_slice::<RememberedFailure>(data) {
        let written = serde_json::to_vec(&remembered).unwrap_or_default();
        assert!(serde_json::from_slice::<RememberedFailure>(&written).is_ok());
    }
    if let Ok(before) = serde_json::from_slice::<LineCount>(data) {
        let (next, _) = count(Some(before), Duration::from_secs(1000));
        assert!(serde_json::to_vec(&next).is_ok());
    }
}

/// `machine/*.state` and `ready/*`: what is known of the machine's credentials.
pub fn machine_state(data: &[u8]) {
    if let Ok(state) = serde_json::from_slice::<CacheState>(data) {
        let written = serde_json::to_vec(&state).unwrap_or_default();
        assert!(serde_json::from_slice::<CacheState>(&written).is_ok());
    }
    if let Ok(text) = std::str::from_utf8(data)
        && text.lines().count() <= 4
    {
        // No file of this machine makes a note of somebody's hold without the file's identity.
        let _ = ready::holds(text);
    }
}

/// A thread's `cgroup`.
pub fn cgroup(data: &[u8]) {
    if let Some(path) = unified_path(data) {
        assert!(!path.contains('\n'));
        assert_eq!(unified_path(format!("1:name=x:/y\n0::{path}\n").as_bytes()), Some(path));
    }
}

fn text_of<T: std::str::FromStr>(data: &[u8]) -> Option<T> {
    std::str::from_utf8(data).ok()?.parse().ok()
}
