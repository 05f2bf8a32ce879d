//! `lgss_kinit`: gets Kerberos tickets into kernel keyrings, in MIT's layout. A drop-in for kinit(1).
//!
//! Called by src/bin/lgss_kinit.rs. Invariant: no password and no key is in a core file, an argument or a message; a failure
//! leaves the keyring as it was.
#![forbid(unsafe_code)]

mod arguments;
mod client;
mod collection_ring;
mod exit;
mod failure;
mod holding;
mod keeping;
mod obtain;
mod own_session;
mod place;
mod quota;
mod remarks;
mod single_key;
mod values;

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::Path;

use arguments::KinitArguments;
pub use arguments::record;
pub use exit::KinitExit;
use failure::KinitFailure;
use keeping::{KeptTickets, Watched};
use place::{Primary, TicketPlace};
use remarks::{PROGRAM, remark};
use values::KeyringWord;

use crate::gss::krb5::Library;
use crate::gss::listing::Granting;
use crate::gss::private_cache::PrivateCache;
use crate::sys::jail;
use crate::terminal::Terminal;
use crate::terminal::completion::Completion;
use crate::terminal::remark::{Answered, answer, complain};
use crate::text::{escaped, shell_word};

const COMPLETION: Completion = Completion { program: PROGRAM, variable: "LGSS_KINIT_COMPLETE", record };

/// Does what `arguments` say, the first of which is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> KinitExit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if COMPLETION.answered(&arguments) {
        return KinitExit::Done;
    }
    let done = match KinitArguments::read(arguments) {
        Ok(arguments) => obey(&arguments, terminal),
        Err(error) => return say(&error, terminal),
    };
    match done {
        Ok(exit) => exit,
        // Nobody wants the rest of the result.
        Err(KinitFailure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => KinitExit::Done,
        Err(failure) => {
            complain(COMPLETION.program, terminal.err, &failure, failure.remedy());
            failure.exit()
        }
    }
}

/// Help and version, or what is wrong with the command line.
fn say(error: &clap::Error, terminal: &mut Terminal<'_>) -> KinitExit {
    match answer(error, terminal) {
        Answered::Help => KinitExit::Done,
        Answered::Misuse => KinitExit::Usage,
    }
}

fn obey(arguments: &KinitArguments, terminal: &mut Terminal<'_>) -> Result<KinitExit, KinitFailure> {
    // A command would inherit RLIMIT_CORE; a process that is not dumpable leaves no core in any case.
    if arguments.runs_something() { jail::set_undumpable() } else { jail::leave_no_core() }
        .map_err(KinitFailure::Core)?;
    let library = Library::open().map_err(KinitFailure::Configuration)?;
    // What other programs will look at, unless told.
    let default = library.default_cache();
    let task = KinitTask { arguments, library: &library, default: &default };
    match (arguments.new_session, arguments.single_key) {
        (true, _) => task.in_a_new_session(terminal),
        (false, true) => task.as_a_single_key(terminal),
        (false, false) => task.here(terminal),
    }
}

/// What is to be done.
struct KinitTask<'a> {
    arguments: &'a KinitArguments,
    library: &'a Library,
    default: &'a str,
}

/// Tickets that are to be renewed.
struct ToBeKept {
    watched: Watched,
    client: String,
    ticket: Granting,
}

/// Tickets that are where they shall be.
struct Stored {
    /// Their cache, `KEYRING:anchor:collection:cache`.
    cache: String,
    /// Whether the words about them could be written.
    said: io::Result<()>,
}

impl KinitTask<'_> {
    fn here(&self, terminal: &mut Terminal<'_>) -> Result<KinitExit, KinitFailure> {
        let place = TicketPlace::choose(self.arguments, self.library)?;
        if let Some(remarkable) = place.remark() {
            remark(terminal.err, remarkable);
        }
        if self.arguments.watched().is_some() && !place.outlives_us() {
            return Err(KinitFailure::EndsWithUs(place.anchor().to_owned()));
        }
        if let Some(seconds) = self.arguments.hold {
            return self.hold(&place, seconds, terminal);
        }
        let watched = self.watched()?;
        self.foresee(quota::OF_A_CACHE, terminal);
        let tickets = obtain::tickets(self.arguments, self.library, &place)?;
        let kept = self.renewable(watched, &tickets, terminal)?;
        let stored = self.store(&place, &tickets, terminal)?;
        // Not the collection: its primary cache may be another client's.
        self.go_on(None, stored, kept)
    }

    fn in_a_new_session(&self, terminal: &mut Terminal<'_>) -> Result<KinitExit, KinitFailure> {
        let watched = self.watched()?;
        self.foresee(quota::OF_A_CACHE, terminal);
        let tickets = self.of_this_session()?;
        let kept = self.renewable(watched, &tickets, terminal)?;
        let session = own_session::begin()?;
        let place = TicketPlace::in_the_session(self.arguments, self.library)?;
        let stored = self.store(&place, &tickets, terminal)?;
        session.is_ours()?;
        self.go_on(Some(&place), stored, kept)
    }

    fn as_a_single_key(&self, terminal: &mut Terminal<'_>) -> Result<KinitExit, KinitFailure> {
        let keyring = self.arguments.keyring.unwrap_or(KeyringWord::Session);
        let collection = keyring.collection();
        if self.arguments.keyring.is_none() {
            place::check_session(&collection)?;
        }
        if let Some(remarkable) = place::remark_on(&collection) {
            remark(terminal.err, remarkable);
        }
        self.foresee(quota::OF_A_KEY, terminal);
        let tickets = self.of_this_session()?;
        let key = single_key::store(&tickets, keyring)?;
        if self.arguments.verbose {
            writeln!(
                terminal.out,
                "Using key: {}\nUsing principal: {}",
                escaped(&key),
                self.client(&tickets)
            )?;
        }
        Ok(KinitExit::Done)
    }

    fn hold(
        &self,
        place: &TicketPlace,
        seconds: i32,
        terminal: &mut Terminal<'_>,
    ) -> Result<KinitExit, KinitFailure> {
        let longest = holding::longest(self.arguments, self.library, place, seconds)?;
        let said = match &longest.new {
            Some(tickets) => self.store(place, tickets, terminal)?.said,
            None => {
                place.lead_to(self.library, &longest.client)?;
                let held = format_args!("Tickets of {} hold for {}", longest.client, longest.left);
                if self.arguments.verbose { writeln!(terminal.out, "{held}") } else { Ok(()) }
            }
        };
        longest.short.map_or(Ok(KinitExit::Done), Err).and_then(|exit| Ok(said.map(|()| exit)?))
    }

    /// Tickets for somewhere else, by what is in this session.
    fn of_this_session(&self) -> Result<PrivateCache, KinitFailure> {
        let old = TicketPlace::by_default(self.library);
        old.be_looked_at(self.library)?;
        obtain::tickets(self.arguments, self.library, &old)
    }

    /// The process that tickets are renewed for, before anybody is asked for a password.
    fn watched(&self) -> Result<Option<Watched>, KinitFailure> {
        let watched = self.arguments.watched().map(Watched::open).transpose()?;
        match self.arguments.relative_name().filter(|_| watched.is_some()) {
            Some(name) => Err(KinitFailure::Relative(name)),
            None => Ok(watched),
        }
    }

    /// What is to be renewed, before it is stored.
    fn renewable(
        &self,
        watched: Option<Watched>,
        tickets: &PrivateCache,
        terminal: &mut Terminal<'_>,
    ) -> Result<Option<ToBeKept>, KinitFailure> {
        let Some(watched) = watched else { return Ok(None) };
        let granting = tickets.open().and_then(|cache| cache.client_and_granting());
        let (client, Some((granting, _))) = granting.map_err(KinitFailure::Renewal)? else {
            return Err(KinitFailure::NothingToRenew);
        };
        if !granting.can_be_renewed() && !self.arguments.by_keytab() {
            remark(
                terminal.err,
                format_args!("the tickets of {client} cannot be renewed; use -r 7d to get renewable ones"),
            );
        }
        Ok(Some(ToBeKept { watched, client: client.to_string(), ticket: granting }))
    }

    /// Says that the quota will not do.
    fn foresee(&self, need: quota::Need, terminal: &mut Terminal<'_>) {
        if let Some(short) = quota::foreseen(need) {
            remark(terminal.err, short);
        }
    }

    /// Stores them and says where they are.
    fn store(
        &self,
        place: &TicketPlace,
        tickets: &PrivateCache,
        terminal: &mut Terminal<'_>,
    ) -> Result<Stored, KinitFailure> {
        // Whoever renews tickets knows where they are.
        let primary = if self.arguments.renewal().is_some() { Primary::Stays } else { Primary::Becomes };
        let cache = place.store(self.library, tickets, primary)?;
        let size = tickets.open().and_then(|cache| cache.as_file(0)).map_or(0, |file| file.len());
        if let Some(short) = quota::remaining(size) {
            remark(terminal.err, short);
        }
        if primary == Primary::Becomes {
            self.say_where(place, terminal);
        }
        let said = if self.arguments.verbose { self.say_what(&cache, tickets, terminal) } else { Ok(()) };
        Ok(Stored { cache, said })
    }

    /// Says what leads other programs there, if they would look elsewhere.
    fn say_where(&self, place: &TicketPlace, terminal: &mut Terminal<'_>) {
        let is_led = self.arguments.runs_something() || place.name() == self.default;
        if place.outlives_us() && !is_led {
            remark(
                terminal.err,
                format_args!("for other programs: export KRB5CCNAME={}", shell_word(Path::new(place.name()))),
            );
        }
    }

    fn say_what(&self, cache: &str, tickets: &PrivateCache, terminal: &mut Terminal<'_>) -> io::Result<()> {
        let client = self.client(tickets);
        writeln!(terminal.out, "Using cache: {}\nUsing principal: {client}", escaped(cache))?;
        match self.arguments.from {
            Some(_) => Ok(()),
            None => writeln!(terminal.out, "Authenticated to Kerberos v5"),
        }
    }

    fn client(&self, tickets: &PrivateCache) -> String {
        let client = tickets.open().and_then(|cache| cache.principal());
        let client = client.map_or_else(|error| error.to_string(), |client| client.to_string());
        escaped(&client).into_owned()
    }

    /// What the tickets are for: they are renewed in the background, and a command runs, which is led to `place`, or to their cache.
    fn go_on(
        &self,
        place: Option<&TicketPlace>,
        stored: Stored,
        kept: Option<ToBeKept>,
    ) -> Result<KinitExit, KinitFailure> {
        if let Some(ToBeKept { watched, client, ticket }) = kept {
            let tickets = KeptTickets { arguments: self.arguments, cache: &stored.cache, client, ticket };
            keeping::start(tickets, watched)?;
        }
        if self.arguments.runs_something() {
            let cache = place.map_or(stored.cache.as_str(), TicketPlace::name);
            return Err(own_session::become_command(&self.arguments.command, cache));
        }
        Ok(stored.said.map(|()| KinitExit::Done)?)
    }
}
