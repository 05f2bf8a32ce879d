//! When tickets are renewed, and how long a failure is followed by nothing. Times are seconds since the epoch.
//!
//! Used by the upcall's renewal before use, by `lgss_kinit` and by `lgss_agent`. Invariant: nothing here looks at a clock.
#![forbid(unsafe_code)]

/// Shortest and longest pause after a failure.
const PAUSES: [u32; 2] = [1, 300];

/// When half of a life is over. One that ends before it begins is none.
pub(crate) fn half_life(start: u32, end: u32) -> u32 {
    start.saturating_add(end.saturating_sub(start) / 2)
}

/// How many seconds the failure of this number, from 1 on, is followed by: twice as many as the one before, and no more than an
/// eighth of what is left.
pub(crate) fn pause(failures: u32, left: u32) -> u32 {
    let [shortest, longest] = PAUSES;
    let grown = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    grown.min(left / 8).clamp(shortest, longest)
}

/// How many seconds after its last renewal a cache is left alone, whatever its tickets say: a tenth of the life that was
/// given, so that a KDC's clock or a ticket of a strange life does not lead to renewals without a pause.
pub(crate) fn rest(life: u32) -> u32 {
    (life / 10).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_life_is_over_in_its_middle() {
        assert_eq!(half_life(1000, 2000), 1500);
        assert_eq!(half_life(u32::MAX - 10, u32::MAX - 1), u32::MAX - 6);
        assert_eq!(half_life(2000, 1000), 2000);
    }

    #[test]
    fn a_cache_rests_for_a_tenth_of_the_life_and_a_second_at_least() {
        assert_eq!([0, 5, 100, 36_000].map(rest), [1, 1, 10, 3600]);
    }

    #[test]
    fn pauses_grow_from_a_second_to_five_minutes_and_shrink_before_the_end() {
        let day = 86_400;
        assert_eq!([1, 2, 3, 9, 10, 33, 200].map(|n| pause(n, day)), [1, 2, 4, 256, 300, 300, 300]);
        assert_eq!([day, 800, 80, 8, 0].map(|left| pause(20, left)), [300, 100, 10, 1, 1]);
    }
}
