//! Checks for the fuzz targets (docs/fuzzing.md): the rules of request-key, and quotas of keys.

use std::path::{Path, PathBuf};

use super::rule::inspect_rules;
use super::rules::{KeyRequest, RuleChoice, Rules, skips};
use crate::key::quota;

/// A file of rules: the chosen one is among those that match, and each finding is a line.
pub fn rules(data: &[u8]) {
    let mut rules = Rules::default();
    rules.take(&PathBuf::from("/etc/request-key.conf"), data);
    let inspection = inspect_rules(&rules, Path::new("/absent"));
    for finding in &inspection.findings {
        let texts = std::iter::once(&finding.finding).chain(&finding.remedy);
        texts.for_each(|text| assert!(!text.contains(char::is_control), "{text:?}"));
    }
    for key_type in ["user", "lgssc"] {
        let request = KeyRequest { key_type, description: "lgss:1000:nfs@a", callout: "lgss1;svc=nfs@a" };
        if let RuleChoice::Start(rule) = rules.choose(&request) {
            let matching = rules.matching(&request);
            assert!(matching.iter().all(|other| rule.skipped <= other.skipped) && matching.contains(&rule));
        }
    }
}

/// `pattern · newline · text`.
pub fn patterns(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (pattern, text) = text.split_once('\n').unwrap_or((&text, ""));
    match skips(pattern, text) {
        Some(skipped) => assert!(skipped <= text.len()),
        None => assert_ne!(pattern, "*"),
    }
    if !pattern.contains('*') {
        assert_eq!(skips(pattern, text).is_some(), pattern == text);
    }
}

/// /proc/key-users, for the quotas.
pub fn key_quotas(data: &[u8]) {
    for (uid, keys, bytes) in String::from_utf8_lossy(data).lines().filter_map(quota::read) {
        let line = format!("{uid}: 1 1/1 {}/{} {}/{}", keys.used, keys.limit, bytes.used, bytes.limit);
        assert_eq!(quota::read(&line), Some((uid, keys, bytes)));
    }
}
