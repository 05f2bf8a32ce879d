//! The worker's messages to the monitor, which trusts none of them.

use serde::{Deserialize, Serialize};

use crate::class::{Private, classes};
use crate::event::{Failure, Stage, one_line};
use crate::secret::Secret;
use crate::text;

/// Most lines of a trail, and most bytes of all of them.
pub(crate) const TRAIL_LIMIT: usize = 40;
#[cfg(any(feature = "gss", test))]
const TRAIL_BYTES: usize = 4096;

/// The lines that fit into a message, and a last one with the number of those left out.
#[cfg(any(feature = "gss", test))]
pub(crate) fn trail_of(mut lines: Vec<String>, more: usize) -> Vec<String> {
    let mut left = TRAIL_BYTES;
    let fitting = lines.iter().take(TRAIL_LIMIT - 1).take_while(|line| {
        let fits = line.len() < left;
        left = left.saturating_sub(line.len());
        fits
    });
    let kept = fitting.count();
    let more = more + lines.len() - kept;
    lines.truncate(kept);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines
}

/// Machine credentials are available; sent before a server is asked for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ready {
    /// Until when others can use them too, seconds since the epoch.
    pub good_until: u32,
    /// Until when the own cache, with this message's tickets, has a ticket for the server; `None` if it has none.
    pub service_until: Option<u32>,
}

/// A negotiated context as the worker reports it; the monitor checks all of it before use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Established {
    /// Encryption type of the base key.
    pub enctype: u32,
    /// Whether the base key is the acceptor's subkey.
    pub acceptor_subkey: bool,
    /// End of the context, seconds since the epoch.
    pub endtime: u32,
    /// First sequence number of our tokens.
    pub send_sequence: Private<u64>,
    /// Seconds that the context remains valid.
    pub lifetime: u32,
    /// The server's sequence window.
    pub window: u32,
    /// Our principal and the cache it came from, for the log.
    pub credential: String,
    /// The principal that the ticket is for, with the name asked for if that differs.
    pub server: String,
    /// Our principal, for the key.
    pub principal: String,
    /// The requester's wish that was not met, with the reason, for the key.
    pub unmet: Option<String>,
    /// The choice of credentials.
    pub considered: Considered,
    /// Duration of each stage.
    pub stages: Vec<Timing>,
    /// Everything that was tried, if the request asks for it.
    #[serde(default)]
    pub trail: Vec<String>,
}

/// A context by a shared key as the worker reports it; the monitor checks all of it before use. Window and handle are
/// not in it: the monitor has them from the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SharedKeyEstablished {
    /// Which of the shared keys that the worker was given, from 0.
    pub candidate: usize,
    /// Our random bytes.
    pub host_random: Private<[u8; 4]>,
    /// The server's.
    pub peer_random: Private<[u8; 4]>,
    /// What came of the keys before that one, for the log.
    pub remark: Option<String>,
    /// Duration of each stage.
    pub stages: Vec<Timing>,
    /// Everything that was tried, if the request asks for it.
    #[serde(default)]
    pub trail: Vec<String>,
}

/// The prime of a shared key has passed its test, which need not be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestedPrime {
    /// Which of the shared keys, from 0.
    pub candidate: usize,
}

/// Which of a user's credentials were chosen, and why not the others; for the log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Considered {
    /// The principal, its cache, and its remaining life.
    pub chosen: Option<String>,
    /// The other principal that was wanted, and why it was not available.
    pub wanted: Option<String>,
    /// The others, the best first, each with the reason against it.
    pub others: Vec<String>,
    /// How many more there were.
    pub more: u32,
}

/// Most others that are named one by one.
pub(crate) const CONSIDERED_LIMIT: usize = 24;
/// Room for the number of those left out.
const MORE_ROOM: usize = 24;

impl Considered {
    /// The same, made safe for the log.
    #[must_use]
    pub(crate) fn sanitised(mut self) -> Self {
        self.others.truncate(CONSIDERED_LIMIT);
        let Self { chosen, wanted, others, more } = self;
        let [chosen, wanted] = [chosen, wanted].map(|text| text.map(|text| one_line(&text)));
        Self { chosen, wanted, others: others.iter().map(|text| one_line(text)).collect(), more }
    }
}

impl Considered {
    /// In words of at most `limit` bytes. Those that do not fit are counted.
    pub(crate) fn in_words(&self, limit: usize) -> String {
        let mut words = match &self.chosen {
            Some(chosen) => format!("chosen: {chosen}"),
            None => "no credentials".to_owned(),
        };
        if let Some(wanted) = &self.wanted {
            words.push_str("; wanted: ");
            words.push_str(wanted);
        }
        if !self.others.is_empty() {
            words.push_str(if self.chosen.is_some() { "; not: " } else { ": " });
        }
        let mut told = 0;
        for other in &self.others {
            let separator = if told == 0 { "" } else { "; " };
            // The first one is cut, not left out.
            if told > 0 && words.len() + separator.len() + other.len() + MORE_ROOM > limit {
                break;
            }
            words.push_str(separator);
            words.push_str(&text::cut(other, limit.saturating_sub(words.len() + MORE_ROOM)));
            told += 1;
        }
        let left = u64::from(self.more) + (self.others.len() - told) as u64;
        if left > 0 { format!("{words}; and {left} more") } else { words }
    }
}

/// The worker's failure. One of another contract reports by it that the programs are of different versions, so members
/// may be unknown beside `failure`, and all others missing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Failed {
    /// What went wrong.
    pub failure: Failure,
    /// The choice of credentials.
    #[serde(default)]
    pub considered: Considered,
    /// Duration of each stage.
    #[serde(default)]
    pub stages: Vec<Timing>,
    /// Everything that was tried, if the request asks for it.
    #[serde(default)]
    pub trail: Vec<String>,
    /// The user's credentials, a number for each state of each cache, [`TRIED_LIMIT`] at most; `None` if none were
    /// looked at.
    #[serde(default)]
    pub tried: Private<Option<Vec<u64>>>,
}

/// Most credentials in [`Failed::tried`].
pub(crate) const TRIED_LIMIT: usize = 48;

impl Failed {
    /// A failure before any stage began.
    pub(crate) fn without_stages(failure: Failure) -> Self {
        let (stages, trail) = (Vec::new(), Vec::new());
        Self { failure, considered: Considered::default(), stages, trail, tried: Private::new(None) }
    }
}

/// Duration of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timing {
    /// The stage.
    pub stage: Stage,
    /// Its duration in microseconds.
    pub micros: u32,
}

/// A message of the worker.
#[derive(Debug)]
pub(crate) enum Message {
    /// Machine credentials are ready. The bytes, unless empty, are a FILE cache to store.
    Ready(Ready, Secret),
    /// A token for the server, with the duration of each stage so far.
    Token(Secret, Vec<Timing>),
    /// A prime need not be tested again.
    TestedPrime(TestedPrime),
    /// The last one.
    Report(Report),
}

/// How the worker ended.
#[derive(Debug)]
pub(crate) enum Report {
    /// With a context.
    Established {
        /// Its typed fields.
        context: Box<Established>,
        /// Its base key.
        base_key: Secret,
        /// The server's handle.
        handle: Private<Vec<u8>>,
    },
    /// With a context by a shared key.
    Shared {
        /// Its typed fields.
        context: SharedKeyEstablished,
        /// The key of the HMAC, then the encryption key, if there is one.
        keys: Secret,
    },
    /// Without one.
    Failed(Failed),
}

classes!(Ready { good_until: public, service_until: public });
classes!(TestedPrime { candidate: public });
classes!(Considered { chosen: public, wanted: public, others: public, more: public });
classes!(Timing { stage: public, micros: public });
classes!(over_pipe Established {
    enctype: public,
    acceptor_subkey: public,
    endtime: public,
    send_sequence: private,
    lifetime: public,
    window: public,
    credential: public,
    server: public,
    principal: public,
    unmet: public,
    considered: fields(Considered),
    stages: fields(Timing),
    trail: public,
});
classes!(over_pipe SharedKeyEstablished {
    candidate: public,
    host_random: private,
    peer_random: private,
    remark: public,
    stages: fields(Timing),
    trail: public,
});
classes!(over_pipe Failed {
    failure: fields(Failure),
    considered: fields(Considered),
    stages: fields(Timing),
    trail: public,
    tried: private,
});
classes!(Message {
    Ready(ready: fields(Ready), cache: secret),
    Token(token: secret, stages: fields(Timing)),
    TestedPrime(prime: fields(TestedPrime)),
    Report(report: fields(Report)),
});
classes!(Report {
    Established { context: fields(Established), base_key: secret, handle: private },
    Shared { context: fields(SharedKeyEstablished), keys: secret },
    Failed(failed: fields(Failed)),
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_fits_a_message_and_says_what_it_leaves_out() {
        assert_eq!(trail_of(vec!["a".to_owned()], 0), ["a"]);
        let long = trail_of(vec!["x".repeat(1000); 9], 3);
        assert_eq!((long.len(), long[4].as_str()), (5, "and 8 more"));
        assert_eq!(trail_of(vec!["y".to_owned(); 100], 0).len(), TRAIL_LIMIT);
    }

    #[test]
    fn others_that_do_not_fit_are_counted() {
        let others: Vec<String> =
            (0..24).map(|number| format!("FILE:/tmp/{number:040}: no ticket")).collect();
        let considered =
            Considered { chosen: Some("alice@A in FILE:/a, 5 h".to_owned()), wanted: None, others, more: 7 };
        let words = considered.in_words(400);
        assert!(words.len() <= 400 && words.starts_with("chosen: alice@A in FILE:/a, 5 h; not: "), "{words}");
        let told = words.matches("no ticket").count();
        assert!(told > 3 && words.ends_with(&format!("; and {} more", 24 - told + 7)), "{words}");
        assert!(!considered.in_words(10_000).contains("and 8 more"));
        let long = Considered { others: vec!["x".repeat(500); 3], ..Considered::default() };
        assert!(long.in_words(200).len() <= 200, "{}", long.in_words(200));
    }
}
