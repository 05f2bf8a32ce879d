//! The `lgss_kinit` command; its code is in src/kinit.
#![forbid(unsafe_code)]

use lgss::private_to_lgss::cli::Terminal;
use lgss::private_to_lgss::kinit::{self, KinitExit};

fn main() -> KinitExit {
    kinit::run(
        std::env::args_os(),
        &mut Terminal { out: &mut std::io::stdout().lock(), err: &mut std::io::stderr().lock() },
    )
}
