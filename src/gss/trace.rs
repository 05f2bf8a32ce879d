//! What the library has tried so far: names of KDCs, their addresses, the result of each. Its errors say none of that.
//!
//! Fed by the library's trace (krb5_set_trace_callback). Only lines of known forms are taken, since some others hold parts
//! of keys. The process negotiates once and has one record: its threads add to it, and the watch reads it while the
//! library blocks. Invariant: nothing secret gets in, and the record stays small.

#[cfg(feature = "test-programs")]
pub(super) mod fuzz;

use std::ffi::c_void;
use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ffi;
use super::status::text;

use crate::sys::errno::errno_of;

/// Most lines that are kept, and most bytes of one.
pub(crate) const LINES_LIMIT: usize = 40;
const TRACE_LINE_LIMIT: usize = 160;
/// Most KDCs that a message names.
const NAMED_KDCS_LIMIT: usize = 3;
/// A connection that ends sooner was refused, by the KDC's host or on the way.
const PROMPT_REFUSAL: Duration = Duration::from_secs(1);
/// Time limit of a second connection, which finds out why the first was refused.
const PROBE: Duration = Duration::from_millis(150);

static TRACE_RECORD: Mutex<TraceRecord> = Mutex::new(TraceRecord::new());

/// The process's record.
#[derive(Debug)]
struct TraceRecord {
    lines: Vec<String>,
    more: usize,
    attempt: KdcAttempt,
}

/// The last request to KDCs.
#[derive(Debug, Clone)]
struct KdcAttempt {
    contacts: Vec<Contact>,
    /// Names without an address.
    unresolved: Vec<String>,
    /// The name that is being looked up now, or was looked up last.
    name: Option<String>,
    /// The certificate of the KDC that is heard of next is not accepted.
    distrusts: bool,
}

/// A KDC's address.
#[derive(Debug, Clone)]
struct Contact {
    host: Option<String>,
    address: String,
    state: ContactState,
}

#[derive(Debug, Clone, Copy)]
enum ContactState {
    /// A datagram was sent.
    Asked,
    /// A connection has been begun.
    Connecting(Instant),
    /// The connection is up, or was for a while.
    Silent,
    /// The connection ended at once.
    Refused,
    /// It is up, but its certificate is not accepted.
    Distrusted,
    /// It has answered.
    Answered,
}

/// What the library waits for while it blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The name service, for the address of this KDC.
    Name(String),
    /// Answers of KDCs.
    Kdcs(String),
}

/// Records the library's contacts, unless its user has it write a trace to a file.
pub(super) fn listen(context: ffi::krb5_context) {
    if std::env::var_os("KRB5_TRACE").is_none() {
        // SAFETY: the context is alive; the function needs no data and lives as long as the program. A library built
        // without traces returns an error, and the record stays empty.
        unsafe { ffi::krb5_set_trace_callback(context, Some(heard), std::ptr::null_mut()) };
    }
}

/// # Safety
/// Called by the library, with valid trace information or null.
unsafe extern "C" fn heard(_: ffi::krb5_context, info: *const ffi::krb5_trace_info, _: *mut c_void) {
    // SAFETY: null when the context ends, else alive until this returns.
    if let Some(info) = unsafe { info.as_ref() } {
        // SAFETY: as above; the message ends with NUL.
        record().hear(&text(info.message));
    }
}

/// Adds a line of the caller's.
pub(crate) fn note(line: impl fmt::Display) {
    record().note(line.to_string());
}

/// The lines so far, and how many more there was no room for.
pub(crate) fn lines() -> (Vec<String>, usize) {
    let record = record();
    (record.lines.clone(), record.more)
}

/// Why no KDC could be reached, in words, once the library has given up. Empty if nothing is known.
pub(crate) fn unreachable() -> String {
    let attempt = record().attempt.clone();
    attempt.in_words()
}

/// Whether no KDC could be asked because none of their names has an address.
pub(crate) fn nobody_was_found() -> bool {
    let attempt = &record().attempt;
    attempt.contacts.is_empty() && (attempt.name.is_some() || !attempt.unresolved.is_empty())
}

/// What the library waits for now, if it waits.
pub(crate) fn waiting() -> Option<Waiting> {
    let attempt = record().attempt.clone();
    match (&attempt.name, attempt.contacts.last()) {
        (Some(name), _) => Some(Waiting::Name(name.clone())),
        (None, Some(Contact { state: ContactState::Answered, .. }) | None) => None,
        (None, Some(_)) => Some(Waiting::Kdcs(attempt.in_words())),
    }
}

fn record() -> MutexGuard<'static, TraceRecord> {
    // Nothing under the lock leaves it half changed.
    TRACE_RECORD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TraceRecord {
    const fn new() -> Self {
        Self { lines: Vec::new(), more: 0, attempt: KdcAttempt::new() }
    }

    fn note(&mut self, mut line: String) {
        if self.lines.len() >= LINES_LIMIT {
            self.more += 1;
            return;
        }
        if line.len() > TRACE_LINE_LIMIT {
            let end = (0..=TRACE_LINE_LIMIT).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
            line.truncate(end);
        }
        self.lines.push(line);
    }

    /// Takes a line of the library's trace, which starts with the process id and the time.
    fn hear(&mut self, line: &str) {
        let line = line.trim_end();
        let message = match line.strip_prefix('[').and_then(|line| line.split_once(": ")) {
            Some((_, message)) => message,
            None => line,
        };
        if let Some(request) = message.strip_prefix("Sending request (") {
            let realm = request.split_once(") to ").map_or("?", |(_, realm)| realm);
            self.attempt = KdcAttempt::new();
            self.note(format!("request to the KDC of {realm}"));
        } else if let Some(name) = message.strip_prefix("Resolving hostname ") {
            self.attempt.look_up(name);
            self.note(format!("looks up {name}"));
        } else if let Some(query) = message.strip_prefix("Sending DNS ") {
            let name = query.split_once("query for ").map_or(query, |(_, name)| name);
            self.attempt.look_up(name.trim_end_matches('.'));
            self.note(format!("asks DNS: {query}"));
        } else if ["TLS certificate error ", "TLS certificate name mismatch"]
            .iter()
            .any(|fault| message.starts_with(fault))
        {
            self.attempt.distrusts = true;
            self.note(message.to_owned());
        } else if let Some((action, address)) = contact(message) {
            self.attempt.contact(action, address);
            self.note(format!("{address}: {}", action.in_words()));
        }
    }
}

/// What the library does with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Datagram,
    DatagramAgain,
    Connect,
    Send,
    Answer,
    Disconnect,
    Error,
    HttpsError,
}

impl Action {
    fn in_words(self) -> &'static str {
        match self {
            Self::Datagram => "asked by UDP",
            Self::DatagramAgain => "asked by UDP once more",
            Self::Connect => "connects by TCP",
            Self::Send => "asked by TCP",
            Self::Answer => "has answered",
            Self::Disconnect => "TCP ends",
            Self::Error => "error of the socket",
            Self::HttpsError => "error of HTTPS",
        }
    }
}

/// `… stream 127.0.0.1:88`, `… dgram ::1:88`, `… https ::1:443`, perhaps with an error after it.
fn contact(message: &str) -> Option<(Action, &str)> {
    let action = match message {
        m if m.starts_with("Sending initial UDP request") => Action::Datagram,
        m if m.starts_with("Sending retry UDP request") => Action::DatagramAgain,
        m if m.starts_with("Initiating TCP connection") => Action::Connect,
        m if m.starts_with("Sending TCP request") || m.starts_with("Sending HTTPS request") => Action::Send,
        m if m.starts_with("Received answer (") => Action::Answer,
        m if m.starts_with("Terminating TCP connection") => Action::Disconnect,
        m if m.starts_with("TCP error ") || m.starts_with("UDP error ") => Action::Error,
        m if m.starts_with("HTTPS error ") => Action::HttpsError,
        _ => return None,
    };
    let after = ["stream ", "dgram ", "https "].iter().find_map(|kind| message.split_once(kind))?.1;
    Some((action, after.split(": ").next().unwrap_or(after).trim()))
}

impl KdcAttempt {
    const fn new() -> Self {
        Self { contacts: Vec::new(), unresolved: Vec::new(), name: None, distrusts: false }
    }

    fn look_up(&mut self, name: &str) {
        self.give_up_name();
        self.name = Some(name.to_owned());
    }

    /// Records that the name looked up has no address. Missing DNS records (`_kerberos…`) are no host names and are left
    /// out.
    fn give_up_name(&mut self) {
        self.unresolved.extend(self.name.take().filter(|name| !name.starts_with('_')));
    }

    fn contact(&mut self, action: Action, address: &str) {
        let known = self.contacts.iter().position(|contact| contact.address == address);
        // The library asks by UDP as soon as it has resolved a name, and returns to known addresses later.
        let host = if action == Action::Datagram || known.is_none() { self.name.take() } else { None };
        self.give_up_name();
        let host = host.filter(|host| !address.starts_with(host.as_str()));
        let mut contact = match known {
            Some(at) => self.contacts.remove(at),
            // That a connection by HTTPS is begun is not told.
            None if action == Action::HttpsError => {
                let state = ContactState::Connecting(Instant::now());
                Contact { host, address: address.to_owned(), state }
            }
            None => Contact { host, address: address.to_owned(), state: ContactState::Asked },
        };
        if std::mem::take(&mut self.distrusts) && action == Action::HttpsError {
            contact.state = ContactState::Distrusted;
        }
        contact.state = match (action, contact.state) {
            (Action::Answer, _) | (_, ContactState::Answered) => ContactState::Answered,
            (_, ContactState::Distrusted) => ContactState::Distrusted,
            (Action::Connect, _) => ContactState::Connecting(Instant::now()),
            (Action::Disconnect | Action::Error | Action::HttpsError, ContactState::Connecting(begun))
                if begun.elapsed() < PROMPT_REFUSAL =>
            {
                ContactState::Refused
            }
            (
                Action::Disconnect | Action::Error | Action::HttpsError | Action::Send,
                ContactState::Connecting(_),
            ) => ContactState::Silent,
            (_, state) => state,
        };
        self.contacts.push(contact);
    }

    fn in_words(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for name in self.unresolved.iter().chain(&self.name).map(|name| format!("name {name} not found")) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let more = (self.contacts.len() + names.len()).saturating_sub(NAMED_KDCS_LIMIT);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        // Only those that the message names: `in_words` may connect to each once more.
        let named = self.contacts.iter().map(Contact::in_words).chain(names).take(NAMED_KDCS_LIMIT);
        format!("{}{more}", named.collect::<Vec<_>>().join(", "))
    }
}

impl Contact {
    fn in_words(&self) -> String {
        let kdc = match &self.host {
            Some(host) => format!("KDC {host} ({})", self.address),
            None => format!("KDC {}", self.address),
        };
        match self.state {
            ContactState::Answered => format!("{kdc} has answered"),
            ContactState::Refused => format!("{kdc} {}", refusal(&self.address)),
            ContactState::Distrusted => {
                format!("{kdc} has a certificate that is not accepted")
            }
            ContactState::Asked | ContactState::Connecting(_) | ContactState::Silent => {
                format!("{kdc} does not answer")
            }
        }
    }
}

/// Why a connection ended at once. The library does not say, so this tries another.
fn refusal(address: &str) -> String {
    let refused = "refuses the connection".to_owned();
    let Some(address) = socket_address(address) else { return refused };
    match TcpStream::connect_timeout(&address, PROBE) {
        Ok(_) => "closes the connection".to_owned(),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => refused,
        Err(error) if error.kind() == ErrorKind::TimedOut => "does not answer".to_owned(),
        Err(error) => {
            format!("cannot be reached: {}", errno_of(&error).desc())
        }
    }
}

/// Parses an address as the library writes it: IPv6 without brackets.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(host.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests;
