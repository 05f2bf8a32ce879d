//! Cost of each stage of an upcall, from the log: ` [authorise 0.31, launch 2.10, …] ms` ends each line.

use std::collections::BTreeMap;

/// In the order of the upcall.
const STAGES: [&str; 6] = ["authorise", "launch", "credentials", "kdc", "connect", "negotiate"];

/// Prints medians over the lines of established contexts.
pub(crate) fn print(lines: &[String]) {
    let mut stages: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let established: Vec<_> = lines.iter().filter(|line| line.contains(": established in ")).collect();
    for line in &established {
        for (stage, milliseconds) in of_line(line) {
            stages.entry(stage).or_default().push(milliseconds);
        }
    }
    println!("\n## Stages of {} upcalls, in milliseconds\n", established.len());
    println!("| stage | p50 | p99 |\n|---|---|---|");
    for stage in STAGES {
        let values = stages.get(stage).unwrap_or_else(|| panic!("no line of the log has {stage}"));
        println!("| {stage} | {:.2} | {:.2} |", crate::median(values), crate::percentile(values, 99));
    }
}

fn of_line(line: &str) -> impl Iterator<Item = (&str, f64)> {
    let list = line.rsplit_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
    list.split(", ").filter_map(|item| {
        let (stage, milliseconds) = item.split_once(' ')?;
        Some((stage, milliseconds.parse().ok()?))
    })
}
