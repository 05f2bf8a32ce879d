//! A program that uses `lgss::security`, as it is told: a command a line on its input, an answer a line on its output.
//!
//! `contexts own|shared SERVICE CHANNEL [principal=P] [ttl=SECONDS] [level=p]`. Commands act on the context that was
//! looked up last. Long waits end after [`LIMIT`].

use lgss::ctx::{ContextRequest, Level, Principal};
use lgss::security::{ClientContext, Flush, Lookup, LookupError, Manner, Security};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::sync::Barrier;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run(words: &[OsString]) {
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
    let [keeping, service, channel, options @ ..] = words.as_slice() else { panic!("{words:?}") };
    let mut request = ContextRequest::new(service.parse().unwrap(), channel.parse().unwrap());
    for option in options {
        match option.split_once('=').unwrap() {
            ("principal", name) => request.principal = Principal::new(name),
            ("ttl", seconds) => request.ttl = Some(Duration::from_secs(seconds.parse().unwrap())),
            ("level", "p") => request.level = Level::Privacy,
            other => panic!("{other:?}"),
        }
    }
    let security = match *keeping {
        "own" => Security::new(request),
        "shared" => Security::shared(request),
        other => panic!("{other}"),
    };
    let mut program = Program { security, context: None };
    for line in std::io::stdin().lock().lines() {
        let answer = program.obey(&line.unwrap());
        println!("{answer}");
        std::io::stdout().flush().unwrap();
    }
}

struct Program {
    security: Security,
    context: Option<ClientContext>,
}

impl Program {
    fn obey(&mut self, line: &str) -> String {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["lookup"] => self.looked_up(self.security.lookup(LIMIT)),
            ["at-once"] => self.looked_up(self.security.lookup(Duration::ZERO)),
            ["poll"] => self.poll(),
            ["refresh"] => self.looked_up(self.security.refresh().and_then(|pending| pending.wait(LIMIT))),
            ["replace"] => {
                let useless = self.context.take().unwrap();
                self.looked_up(self.security.replace(&useless, LIMIT))
            }
            ["threads", number] => self.threads(number.parse().unwrap()),
            ["thread-lookup"] => {
                let security = self.security.clone();
                let result = std::thread::spawn(move || security.lookup(LIMIT)).join().unwrap();
                self.looked_up(result)
            }
            ["drop"] => {
                let context = self.context.take();
                std::thread::spawn(move || drop(context)).join().unwrap();
                "dropped".to_owned()
            }
            ["sign"] => in_words(self.context().sign(b"message").map(|token| hex(&token))),
            ["validate"] => in_words(self.context().validate().map(|()| "valid".to_owned())),
            ["use-until-it-ends", threads] => self.use_until_it_ends(threads.parse().unwrap()),
            ["die"] => {
                self.context().die();
                "died".to_owned()
            }
            ["flush", manner] => {
                let manner = if *manner == "forced" { Manner::Forced } else { Manner::Graceful };
                self.security.flush(&Flush::All, manner).to_string()
            }
            ["flush-owner", uid] => {
                Security::flush_everywhere(&Flush::Owner(uid.parse().unwrap()), Manner::Graceful).to_string()
            }
            ["time", what, threads, times] => {
                self.time(what, threads.parse().unwrap(), times.parse().unwrap())
            }
            ["gc"] => Security::gc().to_string(),
            ["display"] => self.context().to_string(),
            ["fork"] => self.fork(),
            other => panic!("{other:?}"),
        }
    }

    fn context(&self) -> &ClientContext {
        self.context.as_ref().expect("a context")
    }

    fn looked_up(&mut self, result: Result<ClientContext, LookupError>) -> String {
        let said = in_words(result.as_ref().map(|context| {
            let serial = context.key().map_or(0, |key| key.serial().raw());
            format!(
                "context {serial} {}",
                context.principal().map_or("nobody", |principal| principal.as_str())
            )
        }));
        if let Ok(context) = result {
            self.context = Some(context);
        }
        said
    }

    fn poll(&mut self) -> String {
        let pending = match self.security.start() {
            Ok(Lookup::Pending(pending)) => pending,
            Ok(Lookup::Ready(context)) => return format!("at once {}", self.looked_up(Ok(context))),
            Err(error) => return self.looked_up(Err(error)),
        };
        assert!(pending.result().is_none(), "there is a result before there can be one");
        let mut polled = [PollFd::new(pending.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut polled, PollTimeout::try_from(LIMIT).unwrap()).unwrap();
        assert_eq!(ready, 1, "not readable in time");
        assert!(polled[0].revents().unwrap().contains(PollFlags::POLLIN));
        let result = pending.result().expect("readable, so there is a result");
        self.looked_up(result)
    }

    /// Threads that were there before the keyrings of the lookups.
    fn threads(&mut self, number: usize) -> String {
        let barrier = Barrier::new(number);
        let results: Vec<_> = std::thread::scope(|scope| {
            let work = || {
                barrier.wait();
                self.security.lookup(LIMIT).and_then(|context| {
                    let signed = context.sign(b"message").map_err(LookupError::Ended)?;
                    Ok((context, signed))
                })
            };
            let threads: Vec<_> = (0..number).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
        });
        let tokens: HashSet<_> = results.iter().map(|(_, token)| token).collect();
        let first = results[0].0.clone();
        let same = results.iter().all(|(context, _)| context.is(&first));
        let said = format!("same {same} tokens {}", tokens.len());
        self.context = Some(first);
        said
    }

    /// Every thread signs and validates until it may not any more; says why.
    fn use_until_it_ends(&self, threads: usize) -> String {
        let begun = Instant::now();
        let context = self.context();
        let reasons: HashSet<String> = std::thread::scope(|scope| {
            let work = || loop {
                let used = context.sign(b"message").map(drop).and_then(|()| context.validate());
                if let Err(error) = used {
                    return format!("{error:?}");
                }
                assert!(begun.elapsed() < LIMIT, "it never ends");
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            println!("using");
            std::io::stdout().flush().unwrap();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort();
        reasons.join(" ")
    }

    /// The median of what it takes, in nanoseconds.
    fn time(&self, what: &str, threads: usize, times: usize) -> String {
        let one = |what: &str| {
            let begun = Instant::now();
            match what {
                "lookup" => drop(self.security.lookup(LIMIT).unwrap()),
                "check" => self.context().check().unwrap(),
                other => panic!("{other}"),
            }
            begun.elapsed().as_nanos()
        };
        let mut all: Vec<u128> = std::thread::scope(|scope| {
            let work = || (0..times).map(|_| one(what)).collect::<Vec<_>>();
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        all[all.len() / 2].to_string()
    }

    /// A child that uses what it inherits; while another thread looks up, too, so that locks may be held at the fork.
    fn fork(&mut self) -> String {
        let security = self.security.clone();
        let busy = std::thread::spawn(move || {
            for _ in 0..20_000 {
                let _ = security.lookup(Duration::ZERO);
            }
        });
        // SAFETY: the child uses the library and its output, which is what is tried here, and ends.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let inherited = self.context().sign(b"message").map(drop);
                println!("child: inherited {inherited:?}");
                self.context = None;
                let own = self.security.lookup(LIMIT);
                println!("child: {}", self.looked_up(own));
                println!("child: {}", in_words(self.context().sign(b"message").map(|_| "signed".to_owned())));
                std::io::stdout().flush().unwrap();
                nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::SIGKILL).unwrap();
                unreachable!()
            }
            ForkResult::Parent { child } => {
                waitpid(child, None).unwrap();
                busy.join().unwrap();
                format!("parent: {}", in_words(self.context().validate().map(|()| "valid".to_owned())))
            }
        }
    }
}

fn in_words<E: std::fmt::Debug + std::fmt::Display>(result: Result<String, E>) -> String {
    result.unwrap_or_else(|error| format!("error {error:?}: {error}").replace('\n', " "))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
