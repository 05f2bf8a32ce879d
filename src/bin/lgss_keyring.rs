//! The upcall: started by the kernel through request-key(8), see lgss_keyring(8).
#![forbid(unsafe_code)]

fn main() {
    lgss::sys::process::end(lgss::upcall::run(std::env::args_os().skip(1)));
}
