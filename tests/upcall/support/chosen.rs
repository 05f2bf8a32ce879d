//! Which tests a command line chooses.

use libtest_mimic::{Arguments, Trial};

/// The words and options of the command line.
pub(crate) struct Chosen {
    words: Vec<String>,
    /// Those of any `cargo test` binary.
    pub(crate) arguments: Arguments,
}

impl Chosen {
    /// Leading words, if there are several, choose tests whose name contains one of them. The rest is as for any `cargo test`
    /// binary.
    pub(crate) fn read() -> Self {
        let all: Vec<String> = std::env::args().collect();
        let words: Vec<String> =
            all.iter().skip(1).take_while(|word| !word.starts_with('-')).cloned().collect();
        match words.len() {
            0 | 1 => Self { words: Vec::new(), arguments: Arguments::from_iter(all) },
            several => {
                let rest = all.iter().take(1).chain(all.iter().skip(1 + several));
                Self { words, arguments: Arguments::from_iter(rest) }
            }
        }
    }

    /// Whether one of the words chooses it.
    pub(crate) fn has(&self, trial: &Trial) -> bool {
        let name = format!("[{}] {}", trial.kind(), trial.name());
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word))
    }
}
