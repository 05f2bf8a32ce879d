//! The system's part of the credential cache server, see lgss_kcm(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    lgss::private_to_lgss::kcm(std::env::args_os().skip(1))
}
