//! Whether reading ahead pays, judged by what became of it.
//!
//! An expert that was read ahead and is then chosen has cost nothing: the drive was idle. One that is not chosen has cost a slot, and
//! perhaps kept the drive from something better. So each guess is followed up when its layer runs; if too few of the
//! late ones were right nothing is read ahead for a while, and then it is tried again: texts change.

/// Weight of the newest guess.
const NEWEST: f64 = 1.0 / 64.0;
/// Share of right guesses below which reading ahead stops.
const WORTH: f64 = 0.4;
/// Rounds of a layer that it then rests.
const REST: u32 = 1000;

/// The record of guesses.
#[derive(Debug)]
pub(crate) struct Foresight {
    right: f64,
    rest: u32,
}

impl Default for Foresight {
    fn default() -> Self {
        Self { right: 1.0, rest: 0 }
    }
}

impl Foresight {
    /// What was read ahead was chosen or not.
    pub(crate) fn judge(&mut self, is_right: bool) {
        self.right += NEWEST * (f64::from(u8::from(is_right)) - self.right);
        if self.right < WORTH {
            *self = Self { right: 1.0, rest: REST };
        }
    }

    /// A layer runs.
    pub(crate) const fn round(&mut self) {
        self.rest = self.rest.saturating_sub(1);
    }

    /// Whether to read ahead now.
    pub(crate) const fn pays(&self) -> bool {
        self.rest == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_guesses_stop_it_for_a_while_and_good_ones_do_not() {
        let mut foresight = Foresight::default();
        (0..1000).for_each(|i| foresight.judge(i % 2 == 0));
        assert!(foresight.pays(), "every other one is right");
        let mut foresight = Foresight::default();
        let until = (0..1000).position(|i| {
            foresight.judge(i % 5 == 0);
            !foresight.pays()
        });
        assert!(until.is_some_and(|guesses| guesses > 30), "one in five is too few: {until:?}");
        (1..REST).for_each(|_| foresight.round());
        assert!(!foresight.pays());
        foresight.round();
        assert!(foresight.pays(), "another try");
    }
}
