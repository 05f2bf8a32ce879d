//! Numbers of messages that are received: each is accepted once (RFC 2743 §1.2.3).

/// Numbers below the highest that are remembered: sixteen threads may each be some dozens of messages behind.
const WIDTH: u64 = 1024;
const WORDS: usize = 16;

/// How a message stands among those received before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is the next one, or the first of all.
    InOrder,
    /// Some before it have not been received, or not yet (GSS_S_GAP_TOKEN).
    Gap,
    /// It comes after later ones (GSS_S_UNSEQ_TOKEN).
    Late,
}

/// Why a number is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeated {
    Duplicate,
    Old,
}

/// The numbers received so far.
#[derive(Debug, Default)]
pub(super) struct ReplayWindow {
    /// The highest number received; `None` before the first.
    highest: Option<u64>,
    /// A bit for each number of the last [`WIDTH`], at its place modulo that.
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Accepts the number of a message that has been verified. The first may be any: the key does not say where the peer
    /// begins.
    pub(super) fn accept(&mut self, number: u64) -> Result<Arrival, Repeated> {
        let Some(highest) = self.highest else {
            self.highest = Some(number);
            self.mark(number);
            return Ok(Arrival::InOrder);
        };
        if number > highest {
            // What was remembered at the places of the numbers between belongs to numbers that are out of the window now.
            let first_passed = number.saturating_sub(WIDTH - 1).max(highest + 1);
            (first_passed..=number).for_each(|passed| self.unmark(passed));
            self.highest = Some(number);
            self.mark(number);
            return Ok(if number == highest + 1 { Arrival::InOrder } else { Arrival::Gap });
        }
        if highest - number >= WIDTH {
            return Err(Repeated::Old);
        }
        if self.is_marked(number) {
            return Err(Repeated::Duplicate);
        }
        self.mark(number);
        Ok(Arrival::Late)
    }

    fn mark(&mut self, number: u64) {
        if let Some(word) = self.seen.get_mut(word_of(number)) {
            *word |= bit_of(number);
        }
    }

    fn unmark(&mut self, number: u64) {
        if let Some(word) = self.seen.get_mut(word_of(number)) {
            *word &= !bit_of(number);
        }
    }

    fn is_marked(&self, number: u64) -> bool {
        self.seen.get(word_of(number)).is_none_or(|word| word & bit_of(number) != 0)
    }
}

fn word_of(number: u64) -> usize {
    usize::try_from(number % WIDTH / 64).unwrap_or_default()
}

fn bit_of(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn copies_late_ones_and_gaps_are_told_apart() {
        let mut window = ReplayWindow::default();
        let verdicts = [5, 6, 9, 7, 7, 6, 10].map(|number| window.accept(number));
        let (duplicate, late) = (Err(Repeated::Duplicate), Ok(Arrival::Late));
        let (next, gap) = (Ok(Arrival::InOrder), Ok(Arrival::Gap));
        assert_eq!(verdicts, [next, next, gap, late, duplicate, duplicate, next]);
    }

    #[test]
    fn a_number_out_of_the_window_is_old_and_the_edges_hold() {
        let mut window = ReplayWindow::default();
        assert_eq!(window.accept(0), Ok(Arrival::InOrder));
        assert_eq!(window.accept(WIDTH), Ok(Arrival::Gap));
        assert_eq!(window.accept(0), Err(Repeated::Old));
        assert_eq!(window.accept(1), Ok(Arrival::Late));
        assert_eq!(window.accept(u64::MAX), Ok(Arrival::Gap));
        assert_eq!(window.accept(u64::MAX), Err(Repeated::Duplicate));
        assert_eq!(window.accept(u64::MAX - WIDTH), Err(Repeated::Old));
        assert_eq!(window.accept(u64::MAX - WIDTH + 1), Ok(Arrival::Late));
    }

    proptest! {
        /// The model remembers everything.
        #[test]
        fn no_number_is_accepted_twice_and_none_in_the_window_is_lost(
            start in prop_oneof![Just(0), any::<u64>(), Just(u64::MAX - 5000)],
            steps in prop::collection::vec(0_u64..3000, 1..300),
        ) {
            let mut window = ReplayWindow::default();
            let mut model = BTreeSet::new();
            for step in steps {
                let number = start.saturating_add(step);
                let highest = model.last().copied();
                let expected = match highest {
                    Some(highest) if number <= highest && highest - number >= WIDTH => Err(Repeated::Old),
                    _ if model.contains(&number) => Err(Repeated::Duplicate),
                    Some(highest) if number < highest => Ok(Arrival::Late),
                    Some(highest) if number != highest + 1 => Ok(Arrival::Gap),
                    _ => Ok(Arrival::InOrder),
                };
                prop_assert_eq!(window.accept(number), expected);
                model.insert(number);
            }
        }
    }
}
