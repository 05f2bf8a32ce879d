//! Places where credentials are or could be, as rows.

use serde::{Deserialize, Serialize};

use crate::creds::choice::WishedBy;
use crate::creds::ranking::TicketReach;
use crate::creds::survey::Candidate;
use crate::event::{Failure, one_line};
use crate::gss::principal::Name;
use crate::text::quoted;
use crate::time::Span;

/// Result of a search.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FoundCaches {
    /// In the order of use.
    pub(super) rows: Vec<Row>,
    /// Why none is usable, or why they could not be ranked.
    pub(super) failure: Option<Failure>,
    /// The principal of the service that they are ranked for.
    pub(super) service: Option<String>,
    /// The wish that the first one replaces, if of another principal, and why it cannot be met.
    pub(super) wanted: Option<String>,
}

impl FoundCaches {
    /// Nothing was found, for this reason.
    pub(super) fn failed(failure: Failure) -> Self {
        Self { rows: Vec::new(), failure: Some(failure), service: None, wanted: None }
    }
}

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    /// From 1 on; none for a place that cannot be used, or only if no other can.
    pub(super) rank: Option<u32>,
    /// Its name.
    pub(super) cache: String,
    kind: RowKind,
    pub(super) principal: Option<String>,
    /// When its tickets end, in seconds since the epoch.
    end: Option<u32>,
    seconds_left: Option<u64>,
    renewable: Option<bool>,
    /// The services that its tickets lead to.
    reach: Option<Leads>,
    /// Start of its validity, if still to come.
    #[serde(skip)]
    not_before: Option<String>,
    /// It has a ticket for the service itself.
    ready: bool,
    /// It comes before better ones, because KRB5CCNAME names it.
    first: bool,
    /// Why it comes before better ones, for any reason.
    because: Option<RankReason>,
    /// Why it is not used.
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RowKind {
    Cache,
    ClientKeytab,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RankReason {
    Krb5ccname,
    Identity,
    Realm,
    Default,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Leads {
    Target,
    OtherRealm,
    OtherServices,
    Later,
    Postdated,
}

impl Row {
    const BARE: Self = Self {
        rank: None,
        cache: String::new(),
        kind: RowKind::Cache,
        principal: None,
        end: None,
        seconds_left: None,
        renewable: None,
        reach: None,
        not_before: None,
        ready: false,
        first: false,
        because: None,
        reason: None,
    };

    pub(super) fn usable(rank: u32, candidate: &Candidate, now: u64) -> Self {
        let Candidate { name, client, worth, ready, by } = candidate;
        Self {
            rank: Some(rank),
            cache: name.display.clone(),
            principal: Some(client.to_string()),
            end: Some(worth.end),
            seconds_left: Some(u64::from(worth.end).saturating_sub(now)),
            renewable: Some(worth.renewable),
            reach: Some(match worth.reach {
                TicketReach::Target => Leads::Target,
                TicketReach::OtherRealm => Leads::OtherRealm,
                TicketReach::OtherServices => Leads::OtherServices,
                TicketReach::Later => Leads::Later,
                TicketReach::Postdated => Leads::Postdated,
            }),
            not_before: (worth.reach == TicketReach::Later).then(|| worth.not_before()),
            ready: *ready,
            first: *by == Some(WishedBy::Environment),
            because: by.map(|by| match by {
                WishedBy::Environment => RankReason::Krb5ccname,
                WishedBy::Identities => RankReason::Identity,
                WishedBy::Realm => RankReason::Realm,
                WishedBy::Default => RankReason::Default,
            }),
            ..Self::BARE
        }
    }

    /// A ticket that a KDC must validate first.
    pub(super) fn postdated(candidate: &Candidate, now: u64) -> Self {
        let reason = Some(candidate.worth.not_before());
        Self { rank: None, reason, ..Self::usable(0, candidate, now) }
    }

    pub(super) fn keytab(cache: &str, principal: &Name) -> Self {
        let principal = Some(principal.to_string());
        Self { cache: cache.to_owned(), kind: RowKind::ClientKeytab, principal, ..Self::BARE }
    }

    pub(super) fn objection(cache: &str, reason: &str) -> Self {
        Self { cache: cache.to_owned(), reason: Some(reason.to_owned()), ..Self::BARE }
    }

    pub(super) fn ranked_first(self) -> Self {
        Self { rank: self.is_usable().then_some(1), ..self }
    }

    pub(super) fn is_usable(&self) -> bool {
        self.reason.is_none()
    }

    /// The name, quoted: caches and files are named by their writers.
    fn shown(&self) -> String {
        quoted(&self.cache).into_owned()
    }

    pub(super) fn cells(&self) -> [String; 5] {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            or_dash(self.rank.map(|rank| rank.to_string())),
            self.shown(),
            or_dash(self.principal.as_deref().map(|name| quoted(name).into_owned())),
            or_dash(self.seconds_left.map(|left| Span(left).to_string())),
            self.reason.as_deref().map_or_else(|| self.remarks(), one_line),
        ]
    }

    fn remarks(&self) -> String {
        let remarks = [
            (self.first, "first, because KRB5CCNAME names it"),
            (self.because == Some(RankReason::Identity), "of the principal that .k5identity names"),
            (self.because == Some(RankReason::Realm), "of the service's realm"),
            (self.because == Some(RankReason::Default), "the default cache"),
            (self.ready, "has a ticket for the service"),
            (self.renewable == Some(true), "renewable"),
            (self.reach == Some(Leads::OtherRealm), "of another realm than the service's"),
            (self.reach == Some(Leads::OtherServices), "tickets for other services only"),
            (self.reach == Some(Leads::Later), self.not_before.as_deref().unwrap_or("not valid yet")),
            (self.kind == RowKind::ClientKeytab, "keys to get a ticket with, if no cache can be used"),
        ];
        let said: Vec<_> = remarks.iter().filter(|(holds, _)| *holds).map(|(_, remark)| *remark).collect();
        said.join(", ")
    }

    /// In the words of the output's last line.
    pub(super) fn described(&self) -> String {
        let principal = self.principal.as_deref().map_or("nobody".into(), quoted);
        match self.kind {
            RowKind::Cache => format!("{} ({principal})", self.shown()),
            RowKind::ClientKeytab => format!("a ticket that it gets with {} ({principal})", self.shown()),
        }
    }
}
