//! How long a cache is left alone after a renewal.

/// How many seconds after its last renewal a cache is left alone, whatever its tickets say: a tenth of the life that was
/// given, so that a KDC's clock or a ticket of a strange life does not lead to renewals without a pause.
pub(super) fn rest(life: u32) -> u32 {
    (life / 10).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_rests_for_a_tenth_of_the_life_and_a_second_at_least() {
        assert_eq!([0, 5, 100, 36_000].map(rest), [1, 1, 10, 3600]);
    }
}
