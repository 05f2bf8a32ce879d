//! The requester: this program again, as the user, in a session keyring that ends with it.

use std::ffi::CString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lgss::private_to_lgss::ctx::user::{State, parse};
use lgss::private_to_lgss::sys::keyctl;
use serde::{Deserialize, Serialize};

/// First word of the command line.
pub(crate) const WORD: &str = "--requester";
/// Makes as many keys as the second word says, and keeps them until its input ends.
pub(crate) const HOLD: &str = "--hold-keys";
/// Interval between reads of a key in progress.
const POLL: Duration = Duration::from_micros(200);
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) uid: u32,
    pub(crate) rounds: usize,
    /// Before each request.
    pub(crate) pause: Duration,
    /// Order in even rounds; odd rounds run backwards.
    pub(crate) variants: Vec<Variant>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Variant {
    pub(crate) name: String,
    /// The round's number is appended.
    pub(crate) description: String,
    pub(crate) callout: String,
    /// Whether to wait for the context.
    pub(crate) established: bool,
}

/// Times in seconds since the request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) blocked: Option<f64>,
    pub(crate) established: Option<f64>,
    pub(crate) error: Option<String>,
}

/// Runs a plan as its user.
pub(crate) fn start(plan: &Plan) -> Vec<Sample> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(WORD)
        .uid(plan.uid)
        .gid(plan.uid)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(plan).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the requester failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Main function of the requester.
pub(crate) fn run() {
    let plan: Plan = serde_json::from_reader(std::io::stdin()).unwrap();
    keyctl::join_anonymous_session().unwrap();
    let mut samples = Vec::new();
    for round in 0..plan.rounds {
        let mut variants: Vec<_> = plan.variants.iter().collect();
        if round % 2 == 1 {
            variants.reverse();
        }
        for variant in variants {
            std::thread::sleep(plan.pause);
            samples.push(request(variant, round));
        }
    }
    println!("{}", serde_json::to_string(&samples).unwrap());
}

/// Main function of another user.
pub(crate) fn hold() {
    let count: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let session = keyctl::join_anonymous_session().unwrap();
    for n in 0..count {
        let name = CString::new(format!("lgss-bench-{n}")).unwrap();
        keyctl::add(c"user", &name, b"x", session).unwrap();
    }
    println!("ready");
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn request(variant: &Variant, round: usize) -> Sample {
    let description = CString::new(format!("{}{round}", variant.description)).unwrap();
    let callout = CString::new(variant.callout.as_str()).unwrap();
    let begun = Instant::now();
    let key = keyctl::request(c"user", &description, &callout, keyctl::SESSION_KEYRING);
    let blocked = begun.elapsed().as_secs_f64();
    let (established, error) = match key {
        Ok(key) if variant.established => wait(key, begun),
        Ok(_) => (None, None),
        Err(errno) => (None, Some(errno.to_string())),
    };
    if let Ok(key) = key {
        // It goes at once, so that the next round finds the same number of keys.
        let _ = keyctl::invalidate(key);
    }
    Sample { name: variant.name.clone(), blocked: key.ok().map(|_| blocked), established, error }
}

fn wait(key: i32, begun: Instant) -> (Option<f64>, Option<String>) {
    while begun.elapsed() < LIMIT {
        match keyctl::read(key).map(|payload| parse(&payload)) {
            Ok(Ok(State::InProgress)) => std::thread::sleep(POLL),
            Ok(Ok(State::Established(_))) => return (Some(begun.elapsed().as_secs_f64()), None),
            other => panic!("no context: {other:?}"),
        }
    }
    panic!("no context in time");
}
