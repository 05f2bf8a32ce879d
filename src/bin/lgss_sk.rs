//! The `lgss_sk` command; its code is in src/sk_tool.
#![forbid(unsafe_code)]

use lgss::private_to_lgss::cli::Terminal;
use lgss::private_to_lgss::sk_tool::{self, SkExit};

fn main() -> SkExit {
    sk_tool::run(
        std::env::args_os(),
        &mut Terminal { out: &mut std::io::stdout().lock(), err: &mut std::io::stderr().lock() },
    )
}
