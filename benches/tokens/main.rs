//! What tokens cost, ours beside MIT Kerberos's in the same process: `make bench-tokens`, docs/benchmarks.md.
//!
//! Each round does the same work with both, in alternating order; printed are the median throughput of each and the median of
//! the rounds' ratios. Needs the KDC of MIT Kerberos and a C compiler.
#![allow(unsafe_code, reason = "calls MIT Kerberos through a shim in C")]
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::exit, dead_code, reason = "a bench")]

#[path = "../figures.rs"]
mod figures;
#[path = "../../tests/tokens_mit/realm.rs"]
mod realm;

use std::ffi::{CStr, CString, c_char, c_uint, c_ulonglong, c_void};
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use figures::{median, print_machine};
use lgss::crypto::enctype::Enctype;
use lgss::crypto::mic::{KeyOrigin, MicKeys, Role};
use lgss::crypto::wrap::WrapKeys;
use lgss::secret::Secret;
use realm::{Realm, SERVICE};

const SIZES: [(usize, &str); 4] =
    [(64, "64 B"), (4 << 10, "4 KiB"), (64 << 10, "64 KiB"), (1 << 20, "1 MiB")];
const OPERATIONS: [&CStr; 4] = [c"sign", c"verify", c"seal", c"unseal"];
const ROUNDS: usize = 31;
/// Bytes that one of the two works on in a round, at least one message.
const ROUND_BYTES: usize = 2 << 20;
/// Most messages of a round: small ones cost more a byte.
const ROUND_MESSAGES: usize = 2000;

fn main() {
    print_machine();
    println!(
        "\n| encryption type | operation | size | MIT, MB/s | ours, MB/s | median of paired ratios |\n|---|---|---|---|---|---|"
    );
    for number in 17..=20 {
        let enctype = Enctype::try_from(number).unwrap();
        let realm = Realm::start(enctype);
        let mit = Mit::start(&realm);
        let ours = Ours::new(enctype);
        for operation in OPERATIONS {
            for (size, label) in SIZES {
                let times = (ROUND_BYTES / size).clamp(1, ROUND_MESSAGES);
                let mut seconds: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
                for round in 0..=ROUNDS {
                    for which in [round % 2, (round + 1) % 2] {
                        let took = if which == 0 {
                            mit.time(operation, size, times)
                        } else {
                            ours.time(operation, size, times)
                        };
                        // The first round warms up.
                        if round > 0 {
                            seconds[which].push(took);
                        }
                    }
                }
                let ratios: Vec<f64> =
                    seconds[0].iter().zip(&seconds[1]).map(|(mit, ours)| mit / ours).collect();
                let speed = |which: usize| (size * times) as f64 / median(&seconds[which]) / 1e6;
                println!(
                    "| {enctype} | {} | {label} | {:.0} | {:.0} | {:.2} |",
                    operation.to_str().unwrap(),
                    speed(0),
                    speed(1),
                    median(&ratios)
                );
            }
        }
    }
}

struct Mit {
    time: unsafe extern "C" fn(*const c_char, *mut c_void, usize, c_uint) -> c_ulonglong,
}

impl Mit {
    fn start(realm: &Realm) -> Self {
        for (name, value) in realm.variables() {
            // SAFETY: this program has one thread.
            unsafe { std::env::set_var(name, value) };
        }
        let shim = realm.compile_shim(Path::new("benches/tokens/mit.c"));
        let path = CString::new(shim.to_str().unwrap()).unwrap();
        // SAFETY: our own library, whose two functions have these types.
        unsafe {
            let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
            assert!(!library.is_null(), "{shim:?} cannot be loaded");
            let start = libc::dlsym(library, c"mit_start".as_ptr());
            let time = libc::dlsym(library, c"mit_time".as_ptr());
            assert!(!start.is_null() && !time.is_null());
            let start: unsafe extern "C" fn(*const c_char) = std::mem::transmute(start);
            start(CString::new(SERVICE).unwrap().as_ptr());
            let time: unsafe extern "C" fn(*const c_char, *mut c_void, usize, c_uint) -> c_ulonglong =
                std::mem::transmute(time);
            Self { time }
        }
    }

    fn time(&self, operation: &CStr, size: usize, times: usize) -> f64 {
        let mut message = vec![0x5a; size];
        let times = c_uint::try_from(times).unwrap();
        // SAFETY: the shim reads `size` bytes of the message, which live until it returns.
        let nanoseconds =
            unsafe { (self.time)(operation.as_ptr(), message.as_mut_ptr().cast(), size, times) };
        nanoseconds as f64 / 1e9
    }
}

struct Ours {
    mic: [MicKeys; 2],
    wrap: [WrapKeys; 2],
}

impl Ours {
    fn new(enctype: Enctype) -> Self {
        let key = Secret::new((1..=32).take(enctype.key_length()).collect());
        let roles = [Role::Initiator, Role::Acceptor];
        Self {
            mic: roles.map(|role| MicKeys::new(enctype, &key, KeyOrigin::AcceptorSubkey, role).unwrap()),
            wrap: roles.map(|role| WrapKeys::new(enctype, &key, KeyOrigin::AcceptorSubkey, role).unwrap()),
        }
    }

    fn time(&self, operation: &CStr, size: usize, times: usize) -> f64 {
        let message = vec![0x5a; size];
        let mic = self.mic[0].sign(&message, 7);
        let sealed = self.wrap[0].seal(&message, 7).unwrap();
        let begun = Instant::now();
        for number in 0..times as u64 {
            match operation.to_bytes() {
                b"sign" => drop(black_box(self.mic[0].sign(black_box(&message), number))),
                b"verify" => assert_eq!(self.mic[1].verify(black_box(&message), &mic), Ok(7)),
                b"seal" => drop(black_box(self.wrap[0].seal(black_box(&message), number).unwrap())),
                _ => drop(black_box(self.wrap[1].unseal(black_box(&sealed)).unwrap())),
            }
        }
        begun.elapsed().as_secs_f64()
    }
}
