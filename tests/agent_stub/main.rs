//! A stub in the place of `lgss_agent`, for tests of `lgss_kcm`: it speaks the door's protocol, and to clients no KCM but one
//! line about itself. What it is to do stands in the file of `--config`.
#![allow(
    missing_docs,
    clippy::exit,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program of tests"
)]

mod client;

use lgss::private_to_lgss::door::{CONNECTION, DESCRIPTOR, Leaving};
use lgss::private_to_lgss::sys::passing::{send, take};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What the file says, or the one with the uid after its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Answers, and stays.
    Answers,
    /// Answers, and says that it would leave whenever nothing is at the door; where a file is named, from when it is there.
    Leaves,
    /// Reads nothing.
    Deaf,
    /// Ends at once.
    Dies,
    /// Says what no agent says.
    Babbles,
    /// Sends descriptors, if the kernel lets it.
    Laden,
    /// Ends at once, and leaves others behind.
    Deserts,
}

/// The program's words.
struct Words {
    way: Way,
    /// Until it is there, nobody leaves.
    leave: PathBuf,
    uid: u32,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = DESCRIPTOR.to_string();
    match words.as_slice() {
        ["client", socket, what, count] => client::run(Path::new(socket), what, count.parse().unwrap()),
        ["left"] => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        ["--door", door, "--for-uid", uid, "--config", config] if *door == number => {
            std::process::exit(serve(&own_door(), &Words::read(uid, config)))
        }
        _ => panic!("{words:?}"),
    }
}

impl Words {
    fn read(uid: &str, config: &str) -> Self {
        let text =
            fs::read_to_string(format!("{config}.{uid}")).or_else(|_| fs::read_to_string(config)).unwrap();
        let way = match text.trim() {
            "answers" => Way::Answers,
            "leaves" => Way::Leaves,
            "deaf" => Way::Deaf,
            "dies" => Way::Dies,
            "babbles" => Way::Babbles,
            "laden" => Way::Laden,
            "deserts" => Way::Deserts,
            other => panic!("{other}"),
        };
        Self { way, leave: format!("{config}.leave").into(), uid: uid.parse().unwrap() }
    }
}

/// The door.
fn own_door() -> OwnedFd {
    #[expect(unsafe_code, reason = "the descriptor is inherited, and nobody else owns it")]
    // SAFETY: as the reason says; borrowed for as long as it takes to copy it.
    let inherited = unsafe { BorrowedFd::borrow_raw(DESCRIPTOR) };
    inherited.try_clone_to_owned().unwrap()
}

fn serve(door: &OwnedFd, words: &Words) -> i32 {
    let &Words { way, uid, .. } = words;
    match way {
        Way::Dies => return 3,
        Way::Deserts => {
            nix::unistd::close(DESCRIPTOR).unwrap();
            #[expect(clippy::zombie_processes, reason = "whoever is their parent then does that")]
            for _ in 0..8 {
                // As what an agent has forked is called.
                Command::new("/proc/self/exe").arg0("lgss_agent").arg("left").spawn().unwrap();
            }
            return 0;
        }
        Way::Deaf => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        Way::Babbles => send(door.as_fd(), b"what?", &[]).unwrap(),
        Way::Laden => {
            // Not the door itself, which would then be open for as long as the message is there.
            let null = fs::File::open("/dev/null").unwrap();
            let sent = send(door.as_fd(), &Leaving { received: 0 }.encode(), &[null.as_fd()]);
            assert!([Ok(()), Err(Errno::EPERM)].contains(&sent));
        }
        Way::Answers | Way::Leaves => {}
    }
    let mut received = 0;
    loop {
        let mut buffer = [0; 16];
        match take(door.as_fd(), &mut buffer) {
            Ok((0, _)) => return 0,
            Ok((length, descriptors)) => {
                assert_eq!((&buffer[..length], descriptors.len()), (&[CONNECTION][..], 1));
                received += 1;
                descriptors.into_iter().for_each(|connection| answer(connection.into(), uid, received));
            }
            Err(Errno::EAGAIN) => {
                if way == Way::Leaves && words.leave.exists() {
                    let _ = send(door.as_fd(), &Leaving { received }.encode(), &[]);
                }
                let wait = if way == Way::Leaves { PollTimeout::from(3u8) } else { PollTimeout::NONE };
                let _ = poll(&mut [PollFd::new(door.as_fd(), PollFlags::POLLIN)], wait);
            }
            Err(errno) => panic!("{errno}"),
        }
    }
}

/// One line about this process, and about whom it serves.
fn answer(mut connection: UnixStream, uid: u32, received: u64) {
    let peer = getsockopt(&connection, PeerCredentials).unwrap().uid();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|values| values.split_whitespace().collect::<Vec<_>>().join(",")).unwrap()
    };
    let names =
        ["Pid", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"];
    let fields: String = names.iter().map(|name| format!(" {name}={}", field(name))).collect();
    // Of a client that has gone, nothing is wanted.
    let _ = writeln!(connection, "for={uid} peer={peer} received={received}{fields}");
}
