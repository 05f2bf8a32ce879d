//! Checks the hooks that the settings name (rule S14): a file that would be refused, or an account that is not there.

use crate::config::Config;
use crate::hook;
use crate::identity::system_user::{self, how_to_make};
use crate::selftest::finding::Finding;

const HOOKS: &str = "hooks";

/// Findings about each hook that a setting names.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let hooks = &config.hooks;
    let named = [("lustre.nid_hook", &config.lustre.nid_hook.0), ("caches.hook", &config.caches.hook.0)];
    let named = named.into_iter().filter_map(|(setting, name)| Some((setting, name.as_ref()?)));
    let named: Vec<_> = named.chain(hooks.network.iter().map(|name| ("hooks.network", name))).collect();
    let mut findings: Vec<Finding> = named
        .iter()
        .filter_map(|(setting, name)| {
            let refusal = hook::could_run(name, hooks).err()?;
            let remedy = "put it there as lgss.toml(5) says, or let the setting name another";
            Some(Finding::error(HOOKS, format_args!("{setting}: {refusal}"), remedy))
        })
        .collect();
    if let (false, Err(error)) = (named.is_empty(), system_user::find(&hooks.user)) {
        let remedy = format!("{}, or let hooks.user name another account", how_to_make("lgss-hook"));
        findings.push(Finding::error(HOOKS, format_args!("hooks.user: {error}"), remedy));
    }
    if findings.is_empty() && !named.is_empty() {
        findings.push(Finding::ok(HOOKS, hooks.directory.display()));
    }
    findings
}
