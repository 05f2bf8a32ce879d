//! Settings that are each valid, but contradict each other.

use std::time::Duration;

use crate::config::{Config, Seconds};
use crate::selftest::finding::Finding;

/// A failure remembered for longer outlives the kinit that repairs it.
const LONG_MEMORY: Duration = Duration::from_secs(60);

/// The contradictions; `file` is where they can be changed.
pub(super) fn findings(config: &Config, file: &str) -> Vec<Finding> {
    let timeouts = &config.timeouts;
    let deadline = timeouts.deadline;
    let stages = [("kdc", timeouts.kdc), ("connect", timeouts.connect), ("round", timeouts.round)];
    let over: Vec<_> = stages.iter().filter(|(_, limit)| *limit >= deadline).collect();
    let mut findings: Vec<Finding> = over
        .iter()
        .map(|(name, limit)| {
            Finding::warning(
                "timeouts",
                format_args!(
                    "{name} ({limit}) is not below deadline ({deadline}): the deadline ends the request first, and what \
                     was slow is not told"
                ),
                format_args!("lower timeouts.{name} or raise timeouts.deadline in {file}"),
            )
        })
        .collect();
    let all: Duration = stages.iter().map(|(_, Seconds(limit))| *limit).sum();
    if over.is_empty() && all > deadline.0 {
        findings.push(Finding::warning(
            "timeouts",
            format_args!(
                "kdc, connect and round together ({} s) are over deadline ({deadline}): a slow KDC leaves the server no time",
                all.as_secs()
            ),
            format_args!("raise timeouts.deadline in {file}, or lower the others"),
        ));
    }
    if timeouts.negative_cache.0 > LONG_MEMORY {
        findings.push(Finding::warning(
            "timeouts",
            format_args!(
                "negative_cache is {}: a failure is returned for that long, even after its cause is fixed",
                timeouts.negative_cache
            ),
            format_args!("set timeouts.negative_cache in {file} to some seconds"),
        ));
    }
    if config.limits.per_owner >= config.limits.users {
        findings.push(Finding::warning(
            "limits",
            format_args!(
                "per_owner ({}) is not below users ({}): one user can use up all negotiations",
                config.limits.per_owner, config.limits.users
            ),
            format_args!("lower limits.per_owner or raise limits.users in {file}"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_contradict_each_other_are_told_and_the_defaults_do_not() {
        assert_eq!(findings(&Config::default(), "f"), []);
        for (text, part) in [
            ("[timeouts]\nkdc = 60\ndeadline = 20\n", "kdc (60s) is not below deadline (20s)"),
            ("[timeouts]\ndeadline = 10\nkdc = 5\nconnect = 5\nround = 5\n", "together (15 s)"),
            ("[timeouts]\nnegative_cache = \"5min\"\n", "negative_cache is 300s"),
            ("[limits]\nper_owner = 600\n", "per_owner (600)"),
        ] {
            let config: Config = toml::from_str(text).unwrap();
            let found = findings(&config, "/f.toml");
            assert!(found.iter().any(|finding| finding.finding.contains(part)), "{text}: {found:?}");
            assert!(found.iter().all(|finding| finding.remedy.as_deref().unwrap().contains("/f.toml")));
        }
    }
}
