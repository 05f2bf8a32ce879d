//! A program that uses `lgss::rpc`, as it is told: a command a line on its input, an answer a line on its output.
//!
//! `calls SERVICE CHANNEL header|integrity|privacy`.

use super::nfs4;
use lgss::ctx::{ContextRequest, Level};
use lgss::rpc::{CallProtection, Client, ClientOptions, NULL_PROCEDURE};
use lgss::security::Security;
use nix::time::ClockId;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

/// Directories that one call makes.
const AT_ONCE: usize = 20;

pub(crate) fn run(words: &[OsString]) {
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
    let [service, channel, protections @ ..] = words.as_slice() else { panic!("{words:?}") };
    let clients: Vec<Client> =
        protections.iter().map(|protection| client(service, channel, protection)).collect();
    for line in std::io::stdin().lock().lines() {
        println!("{}", obey(&clients, &line.unwrap()));
        std::io::stdout().flush().unwrap();
    }
}

fn client(service: &str, channel: &str, protection: &str) -> Client {
    let protection = match protection {
        "header" => CallProtection::Header,
        "integrity" => CallProtection::Integrity,
        "privacy" => CallProtection::Privacy,
        other => panic!("{other}"),
    };
    let request = ContextRequest::new(service.parse().unwrap(), channel.parse().unwrap());
    let security = Security::new(ContextRequest { level: Level::Privacy, ..request });
    Client::new(security, ClientOptions { protection, ..ClientOptions::default() })
}

/// Commands begin with the number of the client.
fn obey(clients: &[Client], line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let client = &clients[words[0].parse::<usize>().unwrap()];
    match &words[1..] {
        ["null"] => {
            in_words(client.call(NULL_PROCEDURE, &[]).map(|results| format!("{} bytes", results.len())))
        }
        ["threads", threads, each] => nulls(client, threads.parse().unwrap(), each.parse().unwrap()),
        ["mkdir", path] => {
            let (parent, name) = path.rsplit_once('/').unwrap();
            let made = nfs4::make_directories(client, parent, &[name.to_owned()]);
            in_words(made.map(|()| "made".to_owned()))
        }
        ["make", path, count] => {
            let names: Vec<String> =
                (0..count.parse().unwrap()).map(|number| format!("name {number}")).collect();
            let made = names.chunks(AT_ONCE).try_for_each(|some| nfs4::make_directories(client, path, some));
            in_words(made.map(|()| "made".to_owned()))
        }
        ["list", path] => {
            let (begun, worked) = (Instant::now(), processor_time());
            let (mut names, mut bytes) = (0, 0);
            let listed = nfs4::each_name(client, path, |name| {
                names += 1;
                bytes += name.len();
                Ok(())
            });
            let (took, worked) = (begun.elapsed().as_nanos(), (processor_time() - worked).as_nanos());
            in_words(listed.map(|()| format!("{names} names {bytes} bytes {took} ns {worked} of work")))
        }
        ["key"] => in_words(
            client
                .security()
                .lookup(client.options().limit)
                .map(|context| context.key().map_or(0, |key| key.serial().raw()).to_string()),
        ),
        ["destroy"] => in_words(client.destroy_context().map(|()| "destroyed".to_owned())),
        other => panic!("{other:?}"),
    }
}

/// Of this thread.
fn processor_time() -> Duration {
    Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap())
}

fn nulls(client: &Client, threads: usize, each: usize) -> String {
    let done: usize = std::thread::scope(|scope| {
        let work = || (0..each).filter(|_| client.call(NULL_PROCEDURE, &[]).unwrap().is_empty()).count();
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    format!("{done} done")
}

fn in_words<E: std::fmt::Display>(result: Result<String, E>) -> String {
    result.unwrap_or_else(|error| format!("error: {error}").replace('\n', " "))
}
