//! Explains a difference of clocks to people.
//!
//! Used by `creds` for the KDC's clock and by `negotiate::mech` for the server's.

use super::clock::Offset;
use super::ffi;
use super::krb5::Library;
use super::replies::read_error;
use crate::time::{Span, date, now};

/// Clocks that differ by less count as equal.
const NOTABLE: Span = Span(60);

impl Library {
    /// What is known of a clock difference that a KDC or server complains about. `whose` names the clock, `there` is what it
    /// shows (by default what the last error message of a KDC showed), `start` is when the ticket in question becomes valid.
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

    /// Whether a clock difference that a KDC complains about is due to the cache in use: the cache records a difference, or
    /// the KDC's clock agrees with this machine's, so that the ticket itself begins later.
    pub fn skew_is_of_cache(&self) -> bool {
        self.assumed_offset().is_some() || self.replies().clock.is_some_and(|there| there.span() < NOTABLE)
    }

    /// By how much the KDC's clock differed when the cache in use was made. libkrb5 corrects for it (krb5.conf(5),
    /// kdc_timesync).
    fn assumed_offset(&self) -> Option<Offset> {
        let (mut seconds, mut micros) = (0, 0);
        // SAFETY: the context is alive, the pointers are to live locals.
        let code = unsafe { ffi::krb5_get_time_offsets(self.raw(), &mut seconds, &mut micros) };
        Some(Offset(seconds.into())).filter(|offset| code == 0 && offset.span() >= NOTABLE)
    }

    /// The text of the KDC's last answer, if it was an error message with a text. It is not signed.
    pub fn words_of_kdc(&self) -> Option<String> {
        self.replies().in_words()
    }

    /// Whether the library corrects for the clock difference that a cache records.
    pub fn makes_up_for_clocks(&self) -> bool {
        let set = self.libdefault(c"kdc_timesync", c"1").unwrap_or_default();
        !["0", "false", "f", "no", "n", "nil", "off"].contains(&set.to_ascii_lowercase().as_str())
    }

    /// By how many seconds the KDC's clock was ahead, according to the cache in use.
    pub fn offset(&self) -> i64 {
        self.assumed_offset().map_or(0, |Offset(seconds)| seconds)
    }

    /// The clock of an error message's sender (KRB-ERROR); `None` for other bytes.
    pub fn clock_of_error(&self, message: &[u8]) -> Option<Offset> {
        let length = u32::try_from(message.len()).ok()?;
        let message = ffi::krb5_data { magic: 0, length, data: message.as_ptr().cast_mut().cast() };
        // SAFETY: the context is alive; the message is only read.
        unsafe { read_error(self.raw(), &message) }.map(|(clock, _)| clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
