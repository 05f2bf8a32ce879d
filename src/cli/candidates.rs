//! Candidates for completing values on the command line: existing contexts, services, users, names of caches.
//!
//! Invariant: nothing is changed, and no request is made.

use std::collections::BTreeSet;

use clap_complete::engine::CompletionCandidate;
use nix::unistd::geteuid;

use super::values::LEVELS;
use crate::ctx::visible;
use crate::provider::contexts::report::KeyReport;
use crate::provider::contexts::seen as contexts;
use crate::sys::files::lossy_text;
use crate::text::escaped;

/// Most users offered.
const USERS_LIMIT: usize = 500;

/// Contexts that the caller sees, by serial number.
pub(super) fn keys() -> Vec<CompletionCandidate> {
    contexts::reach_user_keyring();
    let visible = visible::contexts();
    let reports = visible.iter().filter_map(KeyReport::of_visible);
    reports
        .map(|report| {
            let help = format!("{}, {}", escaped(report.service()), report.state_text());
            CompletionCandidate::new(report.serial.to_string()).help(Some(help.into()))
        })
        .collect()
}

/// Services that the caller has contexts with.
pub(super) fn services() -> Vec<CompletionCandidate> {
    let contexts = visible::contexts();
    let services: BTreeSet<String> =
        contexts.iter().map(|context| context.description.service.to_string()).collect();
    services.into_iter().map(CompletionCandidate::new).collect()
}

/// Users of /etc/passwd only: a name service may have very many.
pub(super) fn users() -> Vec<CompletionCandidate> {
    let passwd = lossy_text("/etc/passwd").unwrap_or_default();
    let names = passwd.lines().filter_map(|line| line.split(':').next()).take(USERS_LIMIT);
    names.map(CompletionCandidate::new).collect()
}

/// Types of caches, with their usual places.
pub(super) fn caches() -> Vec<CompletionCandidate> {
    let uid = geteuid();
    let named = [
        (format!("FILE:/tmp/krb5cc_{uid}"), "a file"),
        (format!("DIR:/run/user/{uid}/krb5cc"), "a directory of caches"),
        ("KCM:".to_owned(), "caches of a daemon"),
        (format!("KEYRING:persistent:{uid}"), "the persistent keyring"),
        ("KEYRING:session:".to_owned(), "the session keyring"),
        ("KEYRING:user:".to_owned(), "the user keyring"),
    ];
    named.into_iter().map(|(name, help)| CompletionCandidate::new(name).help(Some(help.into()))).collect()
}

/// Levels of protection, under each of their names.
pub(super) fn levels() -> Vec<CompletionCandidate> {
    LEVELS
        .iter()
        .flat_map(|(_, names, help)| {
            names.iter().map(|name| CompletionCandidate::new(*name).help(Some((*help).into())))
        })
        .collect()
}
