//! The `lgss` command; its code is in src/cli.
#![forbid(unsafe_code)]

use lgss::private_to_lgss::cli::{self, Exit, Terminal};

fn main() -> Exit {
    cli::run(
        std::env::args_os(),
        &mut Terminal { out: &mut std::io::stdout().lock(), err: &mut std::io::stderr().lock() },
    )
}
