//! Quotas of keys: whether every user with keys has room for contexts (/proc/key-users, keyrings(7)).

use std::fs;
use std::path::Path;

use nix::unistd::geteuid;

use crate::identity::key_list::{self, Bound};
use crate::key::quota::{self, Share};
use crate::selftest::finding::Finding;
use crate::terminal::person::person;

/// Below these limits there is room for a few contexts only.
const FEW_KEYS: u64 = 20;
const FEW_BYTES: u64 = 6000;
/// Approximate bytes of one context: payload and description, without a ticket stored back.
const CONTEXT_BYTES: u64 = 400;
/// A warning starts at the number of keys at which requests fail, divided by this.
const MANY_SHARE: u64 = 5;
/// From this percentage on a quota is nearly used up.
const FULL: u64 = 90;
/// Most users named.
const FULL_USERS_NAMED: usize = 8;

/// Checks the limits, the users' shares and the number of keys.
pub(super) fn findings() -> Vec<Finding> {
    let limit = |name: &str| -> Option<u64> {
        fs::read_to_string(Path::new("/proc/sys/kernel/keys").join(name)).ok()?.trim().parse().ok()
    };
    let tiny = |name: &str, least: u64| {
        let limit = limit(name).filter(|&limit| limit < least)?;
        let finding = format!("/proc/sys/kernel/keys/{name} is {limit}: room for a few contexts a user");
        Some(Finding::warning(
            "quotas",
            finding,
            format_args!("sysctl kernel.keys.{name}: the kernel's default is more"),
        ))
    };
    let limits = [
        ("maxkeys", FEW_KEYS),
        ("maxbytes", FEW_BYTES),
        ("root_maxkeys", FEW_KEYS),
        ("root_maxbytes", FEW_BYTES),
    ];
    let mut findings: Vec<Finding> = limits.iter().filter_map(|(name, least)| tiny(name, *least)).collect();
    findings.extend(full_users(&fs::read_to_string("/proc/key-users").unwrap_or_default()));
    findings.extend(key_list::count().and_then(key_count));
    if findings.is_empty() {
        findings.push(Finding::ok("quotas", "for keys leave room for contexts"));
    }
    findings
}

/// Checks the number of keys: a program's request waits until all are listed, and fails beyond a limit.
fn key_count(keys: u64) -> Option<Finding> {
    let limit = Bound::OF_A_PROGRAM.keys;
    let remedy = "see in /proc/key-users whose they are; remove them, or lower kernel.keys.maxkeys (sysctl)";
    let text = format!("{keys} keys on this machine");
    if keys > limit {
        let text = format!("{text}: requests of programs fail with ETIMEDOUT beyond {limit}");
        Some(Finding::error("quotas", text, remedy))
    } else if keys > limit / MANY_SHARE {
        let text = format!("{text}: each key slows programs' requests, which fail beyond {limit}");
        Some(Finding::warning("quotas", text, remedy))
    } else {
        None
    }
}

fn is_nearly_full(share: Share) -> bool {
    share.used.saturating_mul(100) >= share.limit.saturating_mul(FULL)
}

fn full_users(users: &str) -> Vec<Finding> {
    let full: Vec<(u32, Share, Share)> = users
        .lines()
        .filter_map(quota::read)
        .filter(|(_, keys, bytes)| is_nearly_full(*keys) || is_nearly_full(*bytes))
        .collect();
    let mut findings: Vec<Finding> = full.iter().take(FULL_USERS_NAMED).map(|&user| finding(user)).collect();
    if full.len() > FULL_USERS_NAMED {
        let more = format!("{} more users have nearly used up theirs", full.len() - FULL_USERS_NAMED);
        findings.push(Finding::warning("quotas", more, "look at /proc/key-users"));
    }
    findings
}

fn finding((uid, keys, bytes): (u32, Share, Share)) -> Finding {
    let no_room = keys.left() < 1 || bytes.left() < CONTEXT_BYTES;
    let used = format!(
        "uid {} has used {} of {} keys and {} of {} bytes",
        person(uid),
        keys.used,
        keys.limit,
        bytes.used,
        bytes.limit
    );
    let prefix = if uid == 0 { "root_" } else { "" };
    let remedy = format!(
        "remove keys that it does not need (as that user: keyctl show @u, keyctl show @s), or raise \
         kernel.keys.{prefix}maxkeys and kernel.keys.{prefix}maxbytes (sysctl)"
    );
    let text = if no_room {
        format!("{used}: no context fits, and its requests fail with EDQUOT")
    } else {
        format!("{used}: few contexts fit, of about {CONTEXT_BYTES} bytes each")
    };
    // An error only for the caller, who surely wants contexts; others may not.
    if no_room && geteuid().as_raw() == uid {
        Finding::error("quotas", text, remedy)
    } else {
        Finding::warning("quotas", text, remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::finding::Severity;

    #[test]
    fn many_keys_are_a_warning_and_too_many_an_error() {
        assert_eq!(key_count(20_000), None);
        assert_eq!(key_count(20_001).unwrap().severity, Severity::Warning);
        let error = key_count(412_345).unwrap();
        assert_eq!(error.severity, Severity::Error);
        assert!(error.finding.contains("412345 keys") && error.finding.contains("ETIMEDOUT"));
    }

    #[test]
    fn a_quota_that_is_nearly_used_up_is_told_for_each_user_by_its_share() {
        let users = "    0:     9 8/8 3/1000000 40/25000000\n 4711:    80 79/79 79/200 19754/20000\n\
                     4712:     1 1/1 190/200 4000/20000\n4713:     1 1/1 20/200 4000/20000\n4714: 1 1/1 1/200 18500/20000\n";
        let found = full_users(users);
        let texts: Vec<&str> = found.iter().map(|finding| finding.finding.as_str()).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(
            texts[0].contains("uid 4711 has used 79 of 200 keys and 19754 of 20000 bytes: no context fits")
        );
        assert!(texts[1].contains("uid 4712") && texts[1].contains("few contexts fit"), "{texts:?}");
        assert!(texts[2].contains("uid 4714") && texts[2].contains("few contexts fit"), "{texts:?}");
        assert!(found.iter().all(|finding| finding.severity == Severity::Warning));
    }

    #[test]
    fn of_root_the_limits_that_are_named_are_roots() {
        let found = full_users("0: 9 8/8 3/1000000 24999900/25000000\n");
        assert_eq!(found[0].severity, Severity::Error, "the tests are root's");
        assert!(found[0].remedy.as_deref().unwrap().contains("kernel.keys.root_maxbytes"));
    }

    #[test]
    fn a_crowd_of_full_users_is_counted() {
        let users: String = (1..20).map(|uid| format!("{uid}: 1 1/1 200/200 1/20000\n")).collect();
        let found = full_users(&users);
        assert_eq!(found.len(), FULL_USERS_NAMED + 1);
        assert!(found.last().unwrap().finding.starts_with("11 more users"));
    }
}
