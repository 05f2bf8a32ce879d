//! The one principal that a request wants to be, if it names one: a context of another's is none.

use crate::creds::survey::Ranking;
use crate::event::{Cause, Failure, Stage};
use crate::gss::krb5::Library;
use crate::gss::principal::Name;

/// What a request's `principal` field asks for.
pub(super) struct Only(Option<Name>);

impl Only {
    /// Of the field's text.
    ///
    /// # Errors
    /// `BadRequest` for what is no principal.
    pub(super) fn of(library: &Library, text: Option<&str>) -> Result<Self, Failure> {
        let name = text.map(|text| library.principal(text).map(|principal| principal.name()));
        name.transpose().map(Self).map_err(|error| {
            let detail = format_args!("principal of the request: {}", error.message);
            Failure::new(Stage::Credentials, Cause::BadRequest, detail)
        })
    }

    /// Without the credentials of others, which are told of.
    pub(super) fn of_ranking(&self, mut ranking: Ranking) -> Ranking {
        if let Some(name) = &self.0 {
            let (own, others): (Vec<_>, Vec<_>) =
                ranking.usable.into_iter().partition(|candidate| candidate.client == *name);
            ranking.usable = own;
            ranking.wanted = None;
            let passed_over =
                others.iter().map(|other| other.passed_over(format_args!("of {}", other.client)));
            ranking.objections.splice(0..0, passed_over);
        }
        ranking
    }

    /// Whether it may be this one.
    ///
    /// # Errors
    /// `NoTicket` for another.
    pub(super) fn admit(&self, client: &Name) -> Result<(), Failure> {
        match &self.0 {
            Some(name) if name != client => {
                let detail = format_args!("the keytab is of {client}");
                Err(self.explain(Failure::new(Stage::Credentials, Cause::NoTicket, detail)))
            }
            _ => Ok(()),
        }
    }

    /// With whom the request is about, where nothing of it was found.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        match &self.0 {
            Some(name) if failure.stage == Stage::Credentials && failure.cause != Cause::Setup => {
                let detail =
                    format_args!("no ticket of {name}, as whom the request wants to be: {}", failure.detail);
                Failure::new(failure.stage, failure.cause, detail)
            }
            _ => failure,
        }
    }
}
