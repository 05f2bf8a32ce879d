//! `lgss_helper`: lends the rights of root to the members of a group, for a fixed list of operations, one each time it runs.
//!
//! Mode 4750, root and the group. `lgss` and `lgss_sk` start it (src/provider/forward.rs), with a local stream socket as its
//! standard input and output. It takes a ping, then one request, answers, and ends. Invariant: it reads no word of its command line, no
//! environment, no settings, no file in the directory it was started in; who called it is what the kernel says; and until it has
//! a whole request of a caller who may, it does nothing with its rights.
#![forbid(unsafe_code)]

mod caller;
mod methods;
mod session;
mod start;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::provider::Undone;
use crate::provider::other_version;
use crate::provider::pipe::{
    HelperReply, PING, PIPE_VERSION, Ping, Pipe, PipeError, PipeText, REQUEST_BYTES,
};
use crate::system_log::{LogSeverity, SystemLog};
use methods::{METHODS, Method};
use session::{ANSWER_LIMIT, Ending, HelperSession};

/// How long a caller may take to say what it wants.
const ASKING_LIMIT: Duration = Duration::from_secs(10);
/// Where syslogd listens.
const LOG: &str = "/dev/log";

/// Serves one request.
pub fn run() -> ExitCode {
    let started = match start::prepare() {
        Ok(started) => started,
        Err(start::NobodyCalls::ByHand) => {
            let _ = writeln!(
                io::stderr(),
                "lgss_helper (lgss) {PIPE_VERSION}: lgss and lgss_sk start this program for members of its group; see lgss_helper(8)"
            );
            return ExitCode::from(2);
        }
        Err(start::NobodyCalls::Failed) => return ExitCode::FAILURE,
    };
    let log = SystemLog::connected("lgss_helper", LOG.into());
    let mut session = HelperSession { pipe: Pipe::over(io::stdin(), io::stdout()), caller: started, log };
    match session.serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ending::Refused) => ExitCode::FAILURE,
        Err(Ending::Pipe(error)) => {
            session.note(LogSeverity::Warning, &format!("not served: {error}"));
            ExitCode::FAILURE
        }
    }
}

impl HelperSession {
    fn serve(&mut self) -> Result<(), Ending> {
        let deadline = Instant::now() + ASKING_LIMIT;
        self.greet(deadline)?;
        let message = match self.receive(deadline) {
            // Somebody who only wanted to know whether we are there.
            Err(Ending::Pipe(PipeError::Ended)) => return Ok(()),
            message => message?,
        };
        let method = self.method(&message)?;
        if self.pipe.has_more() {
            return Err(self.refuse(Undone::plain("lgss_helper takes one request and nothing after it")));
        }
        if let Err(errno) = start::take_rights(method.limit + ANSWER_LIMIT) {
            let why = format!("lgss_helper cannot take the rights of root: {}", errno.desc());
            let remedy = "it needs mode 4750 and root as its owner, on a file system without nosuid; and lgss must not have been started under no_new_privs";
            return Err(self.refuse(Undone::new(why, remedy)));
        }
        if !start::take_slot(self.caller.uid()) {
            let why = "you have as many requests running as one user may have, or /run/lgss cannot be used";
            let remedy = "try again when they have ended; lgss config check looks at /run/lgss";
            return Err(self.refuse(Undone::new(why, remedy)));
        }
        (method.serve)(self, &message)
    }

    /// Takes the ping: who is there, may they call, and are both of one version.
    fn greet(&mut self, deadline: Instant) -> Result<(), Ending> {
        if let Err(refusal) = self.caller.check() {
            return Err(self.refuse(refusal));
        }
        let message = self.receive(deadline)?;
        match message.method() {
            Ok(method) if method == PING => {}
            _ => return Err(self.refuse(Undone::plain("the first request must be a ping"))),
        }
        match message.ping() {
            Ok(ping) if ping.version == PIPE_VERSION => {}
            Ok(ping) => {
                return Err(self.refuse(other_version("the program that started lgss_helper", &ping.version)));
            }
            Err(error) => return Err(self.refuse(Undone::plain(error.to_string()))),
        }
        let reply = HelperReply::Answer(Ping { version: PIPE_VERSION.to_owned() });
        Ok(self.pipe.answer(&reply, deadline)?)
    }

    fn receive(&mut self, deadline: Instant) -> Result<PipeText, Ending> {
        match self.pipe.receive(REQUEST_BYTES, deadline) {
            Ok(message) => Ok(message),
            Err(PipeError::Ended) => Err(PipeError::Ended.into()),
            Err(error) => Err(self.refuse(Undone::plain(error.to_string()))),
        }
    }

    fn method(&mut self, message: &PipeText) -> Result<&'static Method, Ending> {
        let named = match message.method() {
            Ok(named) => named,
            Err(error) => return Err(self.refuse(Undone::plain(error.to_string()))),
        };
        match METHODS.iter().find(|method| method.name == named) {
            Some(method) if message.len() <= method.bytes => Ok(method),
            Some(method) => {
                let why = format!("a request for {} has at most {} bytes", method.name, method.bytes);
                Err(self.refuse(Undone::plain(why)))
            }
            None => Err(self.refuse(Undone::plain("lgss_helper has no such method"))),
        }
    }
}
