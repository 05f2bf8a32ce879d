//! `lgss hook run`: runs one of the site's hooks and prints its result.
//!
//! Invariant: nothing here tells a hook that may not be run from one that does not exist.

use std::io;

use super::arguments::HookRunArgs;
use super::config::{check_command, file_in_effect};
use super::exit::Exit;
use super::forwarded::refused;
use crate::config::{Config, HookName};
use crate::hook::{NoHookResult, run_for_operator};
use crate::provider::hooks::{HOOK_NAME, HookReply, RunHook};
use crate::provider::{Delegated, RootRights, Undone, perform};
use crate::terminal::{Terminal, results};

pub(super) fn run(run: &HookRunArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let named = || std::env::var(HOOK_NAME).ok()?.parse().ok();
    let Some(name) = run.name.clone().or_else(named) else {
        writeln!(terminal.err, "lgss: which hook? lgss hook run NAME")?;
        return Ok(Exit::Usage);
    };
    let Some(rights) = RootRights::of_process() else { return forwarded(run, &name, terminal) };
    let config = match Config::load(file_in_effect(run.config.as_deref()).as_deref()) {
        Ok(config) => config,
        Err(error) => {
            writeln!(terminal.err, "lgss: {error}")?;
            writeln!(terminal.err, "  try:    {}, which says more", check_command(run.config.as_deref()))?;
            return Ok(Exit::Broken);
        }
    };
    let asked_by = run.for_uid.unwrap_or(rights.asked_by());
    let result = run_for_operator(asked_by, &name, &config);
    if run.for_uid.is_some() {
        return results::json(&HookReply::of(result), terminal.out).map(|()| Exit::Ok);
    }
    print(&name, result, terminal)
}

/// Has lgss_helper run it, for those whom it serves. The settings are those of the rule.
fn forwarded(run: &HookRunArgs, name: &HookName, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let what = format!("hook {name}");
    let done = if run.config.is_some() || run.for_uid.is_some() {
        Err(Undone::new("options of this command take the rights of root", format!("lgss hook run {name}")))
    } else {
        perform(Delegated::of_command(RunHook { name: name.clone() }))
    };
    match done {
        Ok(reply) => print(name, reply.result(), terminal),
        Err(undone) => refused(&what, &undone, terminal),
    }
}

fn print(
    name: &HookName,
    result: Result<serde_json::Value, NoHookResult>,
    terminal: &mut Terminal<'_>,
) -> io::Result<Exit> {
    match result {
        Ok(result) => results::json(&result, terminal.out).map(|()| Exit::Ok),
        Err(failure) => {
            writeln!(terminal.err, "lgss: hook {name}: {failure}")?;
            Ok(match failure {
                NoHookResult::Busy => Exit::Again,
                NoHookResult::Failed => Exit::NoResult,
            })
        }
    }
}
