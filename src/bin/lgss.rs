//! The user's command: see `lgss::cli`.
#![forbid(unsafe_code)]

use lgss::cli::{self, Terminal, exit::Exit};

fn main() -> Exit {
    cli::run(
        std::env::args_os(),
        &mut Terminal { out: &mut std::io::stdout().lock(), err: &mut std::io::stderr().lock() },
    )
}
