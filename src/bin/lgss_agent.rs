//! The credential cache server of one user; its code is in src/agent.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lgss::private_to_lgss::agent(std::env::args_os())
}
