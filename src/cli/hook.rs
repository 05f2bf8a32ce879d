//! `lgss hook run`: runs one of the site's hooks and prints its result.
//!
//! Invariant: nothing here tells a hook that may not be run from one that does not exist.

use std::io;

use nix::unistd::{geteuid, getuid};

use super::arguments::HookRunArgs;
use super::config::{check_command, file_in_effect};
use super::exit::Exit;
use crate::config::Config;
use crate::hook::{NoHookResult, run_for_operator};
use crate::terminal::{Terminal, results};

pub(super) fn run(run: &HookRunArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    if !geteuid().is_root() {
        writeln!(terminal.err, "lgss: only root can run hooks")?;
        writeln!(terminal.err, "  try:    sudo lgss hook run {}", run.name)?;
        return Ok(Exit::NoResult);
    }
    let config = match Config::load(file_in_effect(run.config.as_deref()).as_deref()) {
        Ok(config) => config,
        Err(error) => {
            writeln!(terminal.err, "lgss: {error}")?;
            writeln!(terminal.err, "  try:    {}, which says more", check_command(run.config.as_deref()))?;
            return Ok(Exit::Broken);
        }
    };
    match run_for_operator(getuid().as_raw(), &run.name, &config) {
        Ok(result) => {
            results::json(&result, terminal.out)?;
            Ok(Exit::Ok)
        }
        Err(failure) => {
            writeln!(terminal.err, "lgss: hook {}: {failure}", run.name)?;
            Ok(match failure {
                NoHookResult::Busy => Exit::Again,
                NoHookResult::Failed => Exit::NoResult,
            })
        }
    }
}
