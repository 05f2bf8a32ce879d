//! A daemon of root that gets a context with the library and starts a program as a user, which looks for that context.
//!
//! As `use DESCRIPTION CHANNEL [CACHE]`, any program that uses the library: it prints what its key holds. It sets
//! KRB5CCNAME only after its start, and unsets it for `-`. As `leave …` it ends as soon as it has a key.
//!
//! `daemon user|process DESCRIPTION CHANNEL CACHE UID` prints the state of the context, and what the user gets of it.

use lgss::ctx::client::{self, Destination};
use lgss::ctx::{ContextRequest, Description};
use lgss::private_to_lgss::ctx::user::State;
use lgss::private_to_lgss::sys::keyctl;
use nix::errno::Errno;
use std::ffi::{CString, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

pub(crate) fn run(words: &[OsString]) {
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
    let [place, text, channel, cache, uid] = words.as_slice() else { panic!("{words:?}") };
    // As a session of root starts it.
    keyctl::join_anonymous_session().unwrap();
    let request = ContextRequest { cache: Some((*cache).to_owned()), ..request(text, channel) };
    let key = match *place {
        "process" => client::request_into(Destination::Process, &request),
        _ => client::request_shared(&request, None).map(|obtained| obtained.key),
    };
    let key = key.unwrap();
    match key.wait(Duration::from_secs(20)).unwrap() {
        State::Established(_) => println!("established"),
        other => println!("{other:?}"),
    }
    let uid = uid.parse().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["daemon-child", &key.serial().raw().to_string(), text]).uid(uid).gid(uid);
    assert!(child.status().unwrap().success());
    let _ = keyctl::invalidate(key.serial().raw());
}

/// For the context of this description, which is the caller's.
fn request(text: &str, channel: &str) -> ContextRequest {
    let description: Description = text.parse().unwrap();
    let plain = ContextRequest::new(description.service.clone(), channel.parse().unwrap());
    let request = ContextRequest { instance: description.instance.clone(), ..plain };
    assert_eq!(request.description(), description);
    request
}

/// The user's part.
pub(crate) fn look(words: &[OsString]) {
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
    let [serial, text] = words.as_slice() else { panic!("{words:?}") };
    println!("{:?}", keyctl::read(serial.parse().unwrap()).map(|_| ()).unwrap_err());
    match keyctl::find(c"user", &CString::new(*text).unwrap()) {
        Err(Errno::ENOKEY) => println!("none"),
        other => println!("{other:?}"),
    }
}

/// What a program does with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Tell,
    Leave,
}

pub(crate) fn use_library(words: &[OsString], then: Then) {
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
    let (text, channel) = match words.as_slice() {
        [text, channel] => (text, channel),
        [text, channel, cache] => {
            // SAFETY: there is no other thread.
            unsafe {
                match *cache {
                    "-" => std::env::remove_var("KRB5CCNAME"),
                    cache => std::env::set_var("KRB5CCNAME", cache),
                }
            }
            (text, channel)
        }
        _ => panic!("{words:?}"),
    };
    let key = client::request(&request(text, channel)).unwrap();
    if then == Then::Leave {
        return;
    }
    key.wait(Duration::from_secs(20)).unwrap();
    let payload = keyctl::read(key.serial().raw()).unwrap();
    println!("{}", payload.iter().map(u8::to_string).collect::<Vec<_>>().join(" "));
}
