//! The goals, and whether this run reached them.

/// A figure that should not be exceeded.
pub(crate) struct Goal {
    what: &'static str,
    limit: f64,
    reached: f64,
}

impl Goal {
    pub(crate) fn at_most(what: &'static str, limit: f64, reached: f64) -> Self {
        Self { what, limit, reached }
    }
}

pub(crate) fn print(goals: &[Goal]) {
    println!("\n## Against the goals\n\n| figure | at most | this run | reached |\n|---|---|---|---|");
    for Goal { what, limit, reached } in goals {
        let verdict = if reached <= limit { "yes" } else { "**no**" };
        println!("| {what} | {limit} | {reached:.2} | {verdict} |");
    }
}
