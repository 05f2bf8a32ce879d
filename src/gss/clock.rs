//! Clocks elsewhere, as far as error messages tell the time there (RFC 4120 §5.9.1, stime).
//!
//! Used by `creds` for the KDC's clock and by `negotiate::mech` for the server's. An error message is not signed: what
//! it says is for people, and nothing is decided by it.

use std::cell::Cell;
use std::ffi::c_void;
use std::fmt;
use std::ptr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::ffi;
use super::krb5::Library;
use crate::text::date;

/// A clock elsewhere compared with this machine's, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset(i64);

impl Offset {
    /// Of a clock that shows `there`, seconds since the epoch.
    pub fn of(there: u32) -> Self {
        Self(i64::from(there) - i64::try_from(now()).unwrap_or(i64::MAX))
    }

    /// By how much it differs, either way.
    pub fn span(self) -> Span {
        Span(self.0.unsigned_abs())
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.0 < 0 { "behind" } else { "ahead of" };
        write!(f, "{} {side} this machine's", self.span())
    }
}

/// A span of time in seconds, shown in its two largest units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0;
        let (large, small, units) = match seconds {
            0..60 => return write!(f, "{seconds} s"),
            60..3600 => (seconds / 60, seconds % 60, ["min", "s"]),
            3600..86400 => (seconds / 3600, seconds % 3600 / 60, ["h", "min"]),
            _ => (seconds / 86400, seconds % 86400 / 3600, ["days", "h"]),
        };
        let [of_large, of_small] = units;
        if small == 0 {
            write!(f, "{large} {of_large}")
        } else {
            write!(f, "{large} {of_large} {small} {of_small}")
        }
    }
}

/// Clocks that differ by less count as equal.
const NOTABLE: Span = Span(60);

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What KDCs have answered to a context of the library.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Replies {
    /// How many answers there were.
    pub(super) count: u32,
    /// The clock of the last one that was an error message.
    pub(super) clock: Option<Offset>,
    /// What the last one says beside its number, if it was an error message.
    words: Words,
}

/// The text of an error message, as much of it as counts.
#[derive(Debug, Clone, Copy, Default)]
struct Words([u8; 32]);

/// Has the library tell each KDC's answer to `replies`.
///
/// # Safety
/// `context` is alive, and `replies` stays where it is until `context` is freed.
pub(super) unsafe fn listen(context: ffi::krb5_context, replies: &Cell<Replies>) {
    let replies = std::ptr::from_ref(replies).cast_mut().cast();
    // SAFETY: by the caller's promise; `note` has the type asked for and expects a cell of replies.
    unsafe { ffi::krb5_set_kdc_recv_hook(context, Some(note), replies) };
}

/// Called by the library with a KDC's answer; changes nothing of it.
unsafe extern "C" fn note(
    context: ffi::krb5_context,
    replies: *mut c_void,
    code: ffi::krb5_error_code,
    _realm: *const ffi::krb5_data,
    _message: *const ffi::krb5_data,
    reply: *const ffi::krb5_data,
    _instead: *mut *mut ffi::krb5_data,
) -> ffi::krb5_error_code {
    if code == 0 && !reply.is_null() {
        // SAFETY: `replies` is the cell given to `listen`; the reply is alive for the time of this call.
        let (replies, error) = unsafe { (&*replies.cast::<Cell<Replies>>(), read_error(context, reply)) };
        let Replies { count, clock: before, .. } = replies.get();
        let (clock, words) = error.map_or((None, Words::default()), |(clock, words)| (Some(clock), words));
        replies.set(Replies { count: count.saturating_add(1), clock: clock.or(before), words });
    }
    code
}

impl Library {
    /// What is known of a difference of clocks that a KDC or server complains of: `whose` clock that is, what it shows
    /// (the last error message of a KDC if `None`), and when the ticket in question starts.
    pub fn explain_skew(&self, whose: &str, there: Option<Offset>, start: Option<u32>) -> Option<String> {
        let early = start.map(|start| u64::from(start).saturating_sub(now())).filter(|&seconds| seconds > 0);
        let early = early.zip(start).map(|(seconds, start)| {
            format!("the ticket starts in {} (not valid before {})", Span(seconds), date(start))
        });
        let clocks = match (there.or(self.replies().clock), self.assumed_offset()) {
            (Some(there), assumed) if there.span() < NOTABLE => {
                let before =
                    assumed.map(|assumed| format!(", but when the ticket was got the KDC's was {assumed}"));
                Some(format!("the {whose}'s clock agrees with this machine's{}", before.unwrap_or_default()))
            }
            (Some(there), _) => Some(format!("the {whose}'s clock is {there}")),
            (None, Some(assumed)) => Some(format!("when the ticket was got, the KDC's clock was {assumed}")),
            (None, None) => None,
        };
        let known: Vec<String> = early.into_iter().chain(clocks).collect();
        (!known.is_empty()).then(|| known.join("; "))
    }

    /// By how much the KDC's clock differed when the cache in use was made, which libkrb5 makes up for
    /// (krb5.conf(5), kdc_timesync).
    fn assumed_offset(&self) -> Option<Offset> {
        let (mut seconds, mut micros) = (0, 0);
        // SAFETY: the context is alive, the pointers are to live locals.
        let code = unsafe { ffi::krb5_get_time_offsets(self.raw(), &mut seconds, &mut micros) };
        Some(Offset(seconds.into())).filter(|offset| code == 0 && offset.span() >= NOTABLE)
    }

    /// What the KDC's last answer said beside its number, if it was an error message that says anything. It is not signed.
    pub fn words_of_kdc(&self) -> Option<String> {
        let Words(words) = self.replies().words;
        let words: String = words.iter().take_while(|byte| **byte != 0).copied().map(char::from).collect();
        Some(words).filter(|words| !words.trim().is_empty())
    }

    /// Whether a difference of clocks that a cache tells of is made up for.
    pub fn makes_up_for_clocks(&self) -> bool {
        let set = self.libdefault(c"kdc_timesync", c"1").unwrap_or_default();
        !["0", "false", "f", "no", "n", "nil", "off"].contains(&set.to_ascii_lowercase().as_str())
    }

    /// By how many seconds the KDC's clock was ahead, as the cache in use says.
    pub fn offset(&self) -> i64 {
        self.assumed_offset().map_or(0, |Offset(seconds)| seconds)
    }

    /// The clock of the sender of an error message (KRB-ERROR); `None` if it is none.
    pub fn clock_of_error(&self, message: &[u8]) -> Option<Offset> {
        let length = u32::try_from(message.len()).ok()?;
        let message = ffi::krb5_data { magic: 0, length, data: message.as_ptr().cast_mut().cast() };
        // SAFETY: the context is alive; the message is only read.
        unsafe { read_error(self.raw(), &message) }.map(|(clock, _)| clock)
    }
}

/// The sender's clock, and what it says.
///
/// # Safety
/// `context` and `message` are alive.
unsafe fn read_error(context: ffi::krb5_context, message: *const ffi::krb5_data) -> Option<(Offset, Words)> {
    let mut error = ptr::null_mut();
    // SAFETY: by the caller's promise; on success the structure is ours and freed once, and its text has the length that it says.
    unsafe {
        if ffi::krb5_rd_error(context, message, &mut error) != 0 || error.is_null() {
            return None;
        }
        let (there, text) = ((*error).stime.cast_unsigned(), (*error).text);
        let mut words = Words::default();
        if !text.data.is_null() {
            let text = std::slice::from_raw_parts(text.data.cast::<u8>(), text.length as usize);
            words
                .0
                .iter_mut()
                .zip(text.iter().filter(|byte| matches!(byte, 0x20..0x7f)))
                .for_each(|(to, from)| *to = *from);
        }
        ffi::krb5_free_error(context, error);
        Some((Offset::of(there), words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (432, "7 min 12 s"),
            (3 * 3600 + 300, "3 h 5 min"),
            (50 * 3600, "2 days 2 h"),
        ] {
            assert_eq!(Span(seconds).to_string(), text);
        }
    }

    #[test]
    fn an_offset_tells_which_clock_is_ahead() {
        assert_eq!(Offset(432).to_string(), "7 min 12 s ahead of this machine's");
        assert_eq!(Offset(-5).to_string(), "5 s behind this machine's");
    }

    #[test]
    fn an_error_message_tells_its_senders_clock_and_other_bytes_tell_none() {
        let Ok(library) = Library::open() else { panic!("no library") };
        // KRB_AP_ERR_SKEW of nfs/srv.x.test@X.TEST, stime 20261121141402Z.
        let mut message =
            b"\x7e\x53\x30\x51\xa0\x03\x02\x01\x05\xa1\x03\x02\x01\x1e\xa4\x11\x18\x0f".to_vec();
        message
            .extend(b"20261121141402Z\xa5\x05\x02\x03\x04\x1d\x21\xa6\x03\x02\x01\x25\xa9\x08\x1b\x06X.TEST");
        message.extend(b"\xaa\x1c\x30\x1a\xa0\x03\x02\x01\x01\xa1\x13\x30\x11\x1b\x03nfs\x1b\x0asrv.x.test");
        let clock = library.clock_of_error(&message).expect("an error message");
        let there = i64::try_from(now()).unwrap() + clock.0;
        assert!((1_795_270_442 - 2..=1_795_270_442 + 2).contains(&there), "{there}");
        assert_eq!(library.clock_of_error(&message[..40]), None);
        assert_eq!(library.clock_of_error(b""), None);
    }
}
