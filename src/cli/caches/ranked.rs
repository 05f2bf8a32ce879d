//! Output of `lgss caches`: a row for each place where credentials are or could be.

use std::io;

use serde::Serialize;

use super::row::{FoundCaches, Row};
use crate::cli::exit::Exit;
use crate::ctx::initiator::Principal;
use crate::ctx::request::Service;
use crate::event::{Failure, one_line};
use crate::terminal::{Terminal, results};
use crate::text::quoted;

/// The whole output.
#[derive(Debug, Serialize)]
pub(super) struct Ranked {
    uid: u32,
    /// The service named on the command line.
    target: Option<String>,
    /// Its principal, if there is something to rank for it.
    service: Option<String>,
    /// The cache that the upcall would use.
    would_use: Option<String>,
    caches: Vec<Row>,
    #[serde(skip)]
    failure: Option<Failure>,
    /// The wish that the first one replaces, if of another principal, and why it cannot be met.
    wanted: Option<String>,
    /// Why there is nothing to use.
    error: Option<String>,
}

impl Ranked {
    pub(super) fn new(uid: u32, target: Option<&Service>, found: FoundCaches) -> Self {
        let caches = found.rows;
        let failure = found.failure.map(Failure::sanitised);
        Self {
            uid,
            target: target.map(ToString::to_string),
            service: found.service,
            would_use: caches.iter().find(|row| row.rank == Some(1)).map(|row| row.cache.clone()),
            wanted: found.wanted.as_deref().map(one_line),
            caches,
            error: failure.as_ref().map(|failure| failure.detail.clone()),
            failure,
        }
    }

    /// The principal of the first credentials.
    pub(super) fn expected_principal(&self) -> Option<Principal> {
        let first = self.caches.iter().find(|row| row.rank == Some(1))?;
        Principal::new(first.principal.as_ref()?)
    }

    /// Prints it for people.
    pub(super) fn print(&self, terminal: &mut Terminal<'_>) -> io::Result<()> {
        if !self.caches.is_empty() {
            let rows: Vec<_> = self.caches.iter().map(Row::cells).collect();
            results::table(["RANK", "CACHE", "PRINCIPAL", "LEFT", "REMARKS"], &rows, terminal.out)?;
        }
        if let Some(first) = self.caches.iter().find(|row| row.rank == Some(1)) {
            let service =
                self.service.as_ref().map_or(String::new(), |service| format!(" for {}", quoted(service)));
            writeln!(terminal.out, "the upcall would use {}{service}", first.described())?;
            if let Some(wanted) = &self.wanted {
                writeln!(terminal.out, "  wanted: {wanted}")?;
            }
            if self.caches.iter().any(|row| row.rank == Some(2)) {
                writeln!(terminal.out, "  if a KDC refuses that, the next one is tried")?;
            }
        }
        if let Some(Failure { detail, cause, .. }) = &self.failure {
            match self.caches.as_slice() {
                [] => writeln!(terminal.err, "lgss: nothing that the upcall could use: {detail}")?,
                [_] => writeln!(terminal.err, "lgss: the upcall could not use that")?,
                _ => writeln!(terminal.err, "lgss: the upcall could use none of these")?,
            }
            writeln!(terminal.err, "  try:    {}", cause.remedy())?;
        }
        if self.uid == 0 {
            writeln!(
                terminal.err,
                "  programs of root's get root's default cache, or the one that they name, and no other;\n  \
                 Lustre's requests for this machine use its keytab, too: lgss config check"
            )?;
        }
        Ok(())
    }

    pub(super) fn exit(&self) -> Exit {
        self.failure.as_ref().map_or(Exit::Ok, |failure| Exit::of_failure(failure.cause.errno()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::creds::choice::WishedBy;
    use crate::creds::ranking::{TicketReach, Worth};
    use crate::creds::survey::Candidate;
    use crate::creds::ticket::CacheNames;
    use crate::event::{Cause, Stage};
    use crate::gss::principal::Name;
    use crate::text::is_plain;

    fn candidate(cache: &str, client: &str, reach: TicketReach) -> Candidate {
        Candidate {
            name: CacheNames { library: "FILE:/proc/self/fd/4".into(), display: cache.into() },
            client: Name { realm: "A".into(), components: vec![client.into()] },
            worth: Worth { reach, end: 8200, renewable: true, authenticated: 0, start: 5000 },
            ready: false,
            by: None,
        }
    }

    fn printed(ranked: &Ranked) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        ranked.print(&mut Terminal { out: &mut out, err: &mut err }).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn found(rows: Vec<Row>, failure: Option<Failure>) -> Ranked {
        Ranked::new(
            1000,
            None,
            FoundCaches { rows, failure, service: Some("nfs/srv@A".into()), wanted: None },
        )
    }

    #[test]
    fn the_first_is_named_below_a_table_of_all() {
        let first = Candidate {
            ready: true,
            by: Some(WishedBy::Environment),
            ..candidate("FILE:/b", "bob", TicketReach::Target)
        };
        let ranked = found(
            vec![
                Row::usable(1, &first, 1000),
                Row::usable(2, &candidate("FILE:/a", "alice", TicketReach::OtherRealm), 1000),
                Row::objection("FILE:/old", "ticket expired 3 h ago"),
            ],
            None,
        );
        let lines = "RANK  CACHE      PRINCIPAL  LEFT  REMARKS\n\
                     1     FILE:/b    bob@A      2 h   first, because KRB5CCNAME names it, has a ticket for the service, renewable\n\
                     2     FILE:/a    alice@A    2 h   renewable, of another realm than the service's\n\
                     -     FILE:/old  -          -     ticket expired 3 h ago\n\
                     the upcall would use FILE:/b (bob@A) for nfs/srv@A\n  if a KDC refuses that, the next one is tried\n";
        assert_eq!(printed(&ranked), (lines.to_owned(), String::new()));
        assert_eq!((ranked.exit(), ranked.would_use.as_deref()), (Exit::Ok, Some("FILE:/b")));
    }

    #[test]
    fn with_nothing_to_use_it_says_what_to_do() {
        let failure =
            Failure::new(Stage::Credentials, Cause::TicketExpired, "FILE:/a: ticket expired 3 h ago");
        let ranked = found(vec![Row::objection("FILE:/a", "ticket expired 3 h ago")], Some(failure));
        let (out, err) = printed(&ranked);
        assert!(
            !out.contains("would use") && err.contains("try:    get a new ticket with kinit"),
            "{out}{err}"
        );
        assert_eq!(ranked.exit(), Exit::NoTicket);
    }

    #[test]
    fn a_keytab_comes_after_caches_and_first_without_them() {
        let name = Name { realm: "A".into(), components: vec!["job".into()] };
        let keytab = Row::keytab("FILE:/k", &name);
        assert_eq!(keytab.rank, None);
        let (out, _) = printed(&found(vec![keytab.ranked_first()], None));
        assert!(
            out.ends_with("the upcall would use a ticket that it gets with FILE:/k (job@A) for nfs/srv@A\n"),
            "{out}"
        );
        assert_eq!(Row::objection("FILE:/k", "no keys").ranked_first().rank, None);
    }

    #[test]
    fn names_cannot_send_control_characters_to_the_terminal() {
        let hostile = candidate("FILE:/tmp/krb5cc\x1b[2J\u{202e}", "eve\u{9b}31m\n", TicketReach::Target);
        let ranked =
            found(vec![Row::usable(1, &hostile, 0), Row::objection("FILE:/\x07", "bad \x1b]0;x")], None);
        let (out, _) = printed(&ranked);
        let mut json = Vec::new();
        results::json(&ranked, &mut json).unwrap();
        let json = String::from_utf8(json).unwrap();
        let plain = |text: &str| text.chars().all(|c| c == '\n' || is_plain(c));
        assert!(plain(&out) && plain(&json) && out.lines().count() == 4, "{out:?} {json:?}");
        let data: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(data["caches"][0]["cache"], "FILE:/tmp/krb5cc\x1b[2J\u{202e}");
    }

    #[test]
    fn a_name_cannot_pass_for_other_columns() {
        let hostile = candidate("FILE:/tmp/krb5cc_1  root@A", "eve; 2", TicketReach::Target);
        let (out, _) = printed(&found(vec![Row::usable(1, &hostile, 0)], None));
        assert!(out.contains("\"FILE:/tmp/krb5cc_1  root@A\"  \"eve; 2@A\""), "{out}");
    }
}
