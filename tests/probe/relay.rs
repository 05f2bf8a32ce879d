//! `lgss-probe relay SOCKET`: a connection of this process's user between its standard input and a socket, so that a test that
//! is root speaks as that user. Ends when the other side closes.

use std::ffi::OsString;
use std::io::{copy, stdin};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

pub(crate) fn run(arguments: &[OsString]) -> ! {
    let [path] = arguments else { panic!("relay SOCKET") };
    // Read and written: the test gives a socket as standard input.
    let tests = UnixStream::from(stdin().as_fd().try_clone_to_owned().expect("descriptor"));
    let Ok(theirs) = UnixStream::connect(path) else { std::process::exit(1) };
    let (mut from_test, mut to_server) =
        (tests.try_clone().expect("clone"), theirs.try_clone().expect("clone"));
    std::thread::spawn(move || {
        let _ = copy(&mut from_test, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_test) = (theirs, tests);
    let _ = copy(&mut from_server, &mut to_test);
    std::process::exit(0)
}
