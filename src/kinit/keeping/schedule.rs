//! When tickets are renewed, and when a person is warned that they will end. Times are seconds since the epoch.
//!
//! Used by `keeping`. Invariant: nothing here looks at a clock.

use crate::gss::listing::Granting;
use crate::renewal_times;

/// Longest time before its end at which a ticket that no later one follows is warned of.
const WARNED_BEFORE: u32 = 3600;
/// The pause when the ticket has ended.
const PAUSE_AFTER_THE_END: u64 = 30;

/// Who can prove who the client is, once a ticket has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TicketSource {
    Keytab,
    /// Somebody with a password, who is not asked.
    Person,
}

/// Where a ticket comes from that lasts longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaterTicket {
    /// The KDC renews the old one.
    Renewed,
    /// The KDC gives a new one to who has the client's key.
    ByKeytab,
    /// Nobody gives one.
    Nowhere,
}

impl LaterTicket {
    /// Renewal comes first, since it needs no key.
    pub(super) fn of(ticket: &Granting, now: u64, source: TicketSource) -> Self {
        match source {
            _ if ticket.can_be_renewed() && now < u64::from(ticket.end) => Self::Renewed,
            TicketSource::Keytab => Self::ByKeytab,
            TicketSource::Person => Self::Nowhere,
        }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextStep {
    Replace,
    /// Nothing for so many seconds.
    Wait(u64),
    /// The ticket has ended, and no later one follows.
    Over,
}

/// Replaces a ticket at half of its life.
pub(super) fn next(ticket: &Granting, later: LaterTicket, now: u64) -> NextStep {
    let (end, half) = (u64::from(ticket.end), ticket.half_life());
    match later {
        LaterTicket::Nowhere if now >= end => NextStep::Over,
        LaterTicket::Nowhere => NextStep::Wait(end - now),
        LaterTicket::Renewed | LaterTicket::ByKeytab if now >= half => NextStep::Replace,
        LaterTicket::Renewed | LaterTicket::ByKeytab => NextStep::Wait(half - now),
    }
}

/// From when on a person is warned: an hour before the end, or in the last quarter of a short life.
pub(super) fn warning_time(ticket: &Granting) -> u64 {
    let life = ticket.end.saturating_sub(ticket.start);
    u64::from(ticket.end.saturating_sub(WARNED_BEFORE.min(life / 4)))
}

/// How many seconds the failure of this number is followed by.
pub(super) fn pause(ticket: &Granting, failures: u32, now: u64) -> u64 {
    let left = u64::from(ticket.end).checked_sub(now).and_then(|left| u32::try_from(left).ok());
    left.map_or(PAUSE_AFTER_THE_END, |left| renewal_times::pause(failures, left).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(start: u32, end: u32, renew_until: Option<u32>) -> Granting {
        Granting { start, end, enctype: 18, invalid: false, renew_until }
    }

    #[test]
    fn a_ticket_is_renewed_at_half_of_its_life_and_replaced_by_keytab_when_that_is_over() {
        let renewable = ticket(1000, 2000, Some(5000));
        for source in [TicketSource::Keytab, TicketSource::Person] {
            assert_eq!(LaterTicket::of(&renewable, 1999, source), LaterTicket::Renewed);
        }
        assert_eq!(next(&renewable, LaterTicket::Renewed, 1200), NextStep::Wait(300));
        assert_eq!(next(&renewable, LaterTicket::Renewed, 1500), NextStep::Replace);
        assert_eq!(LaterTicket::of(&renewable, 2000, TicketSource::Keytab), LaterTicket::ByKeytab);
        assert_eq!(LaterTicket::of(&renewable, 2000, TicketSource::Person), LaterTicket::Nowhere);
        let last = ticket(4000, 5000, Some(5000));
        assert_eq!(LaterTicket::of(&last, 4000, TicketSource::Keytab), LaterTicket::ByKeytab);
        assert_eq!(LaterTicket::of(&last, 4000, TicketSource::Person), LaterTicket::Nowhere);
        assert_eq!(next(&last, LaterTicket::Nowhere, 4500), NextStep::Wait(500));
        assert_eq!(next(&last, LaterTicket::Nowhere, 5000), NextStep::Over);
        assert_eq!(next(&last, LaterTicket::ByKeytab, 9000), NextStep::Replace);
    }

    #[test]
    fn the_warning_comes_an_hour_or_a_quarter_of_a_life_before_the_end() {
        assert_eq!(warning_time(&ticket(0, 36_000, None)), 32_400);
        assert_eq!(warning_time(&ticket(0, 400, None)), 300);
        assert_eq!(warning_time(&ticket(0, 0, None)), 0);
    }

    #[test]
    fn pauses_are_a_second_to_five_minutes_and_half_a_minute_after_the_end() {
        let ticket = ticket(0, 36_000, None);
        assert_eq!([0, 35_200, 35_999, 40_000].map(|now| pause(&ticket, 20, now)), [300, 100, 1, 30]);
        assert_eq!([1, 2, 4].map(|failures| pause(&ticket, failures, 0)), [1, 2, 8]);
    }
}
