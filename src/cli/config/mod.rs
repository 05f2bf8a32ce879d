mod rules;
pub(super) mod show { use crate::cli::{Terminal,exit::Exit,arguments::ConfigShow}; pub(crate) fn run(_: &ConfigShow, _: &mut Terminal<'_>) -> std::io::Result<Exit> { Ok(Exit::Ok) } }
pub(super) mod check { use crate::cli::{Terminal,exit::Exit,arguments::ConfigCheck}; pub(crate) fn run(_: &ConfigCheck, _: &mut Terminal<'_>) -> std::io::Result<Exit> { Ok(Exit::Ok) } }
