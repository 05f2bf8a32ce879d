//! The worker: negotiates one context without privileges. Started by `lgss_keyring` only.

use std::process::ExitCode;

fn main() -> ExitCode {
    lgss::private_to_lgss::worker()
}
