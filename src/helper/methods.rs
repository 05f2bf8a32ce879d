//! The table of methods: all that this program can do.

use std::time::{Duration, Instant};

use super::session::{ANSWER_LIMIT, Ending, HelperSession};
use crate::provider::contexts::ListContexts;
use crate::provider::contexts::ending::EndContexts;
use crate::provider::hooks::RunHook;
use crate::provider::log::ReadLog;
use crate::provider::pipe::{HelperReply, PipeText};
use crate::provider::programs::{CheckInstallation, ShowCaches};
use crate::provider::shared_keys::{ListSharedKeys, LoadSharedKey};
use crate::provider::{Delegable, Undone, perform};
use crate::system_log::LogSeverity;

/// One method.
pub(super) struct Method {
    /// Its name on the pipe.
    pub name: &'static str,
    /// Longest request in bytes.
    pub bytes: usize,
    /// How long it may take.
    pub limit: Duration,
    /// Does it and answers.
    pub serve: fn(&mut HelperSession, &PipeText) -> Result<(), Ending>,
}

impl Method {
    const fn of<O: Delegable>(bytes: usize, seconds: u64) -> Self {
        Self { name: O::METHOD, bytes, limit: Duration::from_secs(seconds), serve: serve::<O> }
    }
}

const KIB: usize = 1024;

/// Every method with the longest request and the most seconds.
pub(super) const METHODS: [Method; 8] = [
    Method::of::<ListContexts>(KIB, 30),
    Method::of::<EndContexts>(64 * KIB, 30),
    Method::of::<ShowCaches>(2 * KIB, 50),
    Method::of::<CheckInstallation>(KIB, 70),
    Method::of::<ReadLog>(KIB, 40),
    Method::of::<ListSharedKeys>(KIB, 30),
    Method::of::<LoadSharedKey>(16 * KIB, 30),
    Method::of::<RunHook>(KIB, 120),
];

fn serve<O: Delegable>(session: &mut HelperSession, message: &PipeText) -> Result<(), Ending> {
    let request = match message.operation::<O>() {
        Ok(request) => request.asked_by(session.caller.uid().as_raw()),
        Err(error) => return Err(session.refuse(Undone::plain(error.to_string()))),
    };
    let words = request.operation().words();
    // Before it is done: what ends this process meanwhile leaves no act without a line.
    session.note(LogSeverity::Info, &format!("asks for {words}"));
    match perform(request) {
        Ok(answer) => {
            session.note(LogSeverity::Info, &format!("{}: {words}", O::outcome(&answer)));
            Ok(session.pipe.answer(&HelperReply::Answer(answer), Instant::now() + ANSWER_LIMIT)?)
        }
        Err(refusal) => {
            session.note(LogSeverity::Warning, &format!("not done: {words}: {refusal}"));
            let reply = HelperReply::<O::Answer>::Refusal(refusal);
            Ok(session.pipe.answer(&reply, Instant::now() + ANSWER_LIMIT)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_name_of_its_own_and_fits_the_pipe() {
        let names: std::collections::BTreeSet<_> = METHODS.iter().map(|method| method.name).collect();
        assert_eq!(names.len(), METHODS.len());
        for method in &METHODS {
            assert!(method.bytes <= crate::provider::pipe::REQUEST_BYTES, "{}", method.name);
            assert!(
                method.limit + ANSWER_LIMIT <= Duration::from_secs(145),
                "{}: the command gives up sooner",
                method.name
            );
        }
    }
}
