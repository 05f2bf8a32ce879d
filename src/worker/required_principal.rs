//! The one principal that a request accepts, if it names one. A context of any other principal does not serve it.

use crate::creds::survey::Ranking;
use crate::event::{Cause, Failure, Stage};
use crate::gss::krb5::Library;
use crate::gss::principal::Name;

/// The principal in a request's `principal` field, if any.
pub(super) struct RequiredPrincipal(Option<Name>);

impl RequiredPrincipal {
    /// Parses the field.
    ///
    /// # Errors
    /// `BadRequest` if the text is not a principal.
    pub(super) fn of(library: &Library, text: Option<&str>) -> Result<Self, Failure> {
        let name = text.map(|text| library.principal(text).map(|principal| principal.name()));
        name.transpose().map(Self).map_err(|error| {
            let detail = format_args!("principal of the request: {}", error.message);
            Failure::new(Stage::Credentials, Cause::BadRequest, detail)
        })
    }

    /// The ranking with the credentials of other principals moved to its objections.
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

    /// Checks that the request accepts this client.
    ///
    /// # Errors
    /// `NoTicket` if it does not.
    pub(super) fn admit(&self, client: &Name) -> Result<(), Failure> {
        match &self.0 {
            Some(name) if name != client => {
                let detail = format_args!("the keytab is of {client}");
                Err(self.explain(Failure::new(Stage::Credentials, Cause::NoTicket, detail)))
            }
            _ => Ok(()),
        }
    }

    /// Names the principal in a failure to find credentials.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        match &self.0 {
            Some(name) if failure.stage == Stage::Credentials && failure.cause != Cause::Setup => {
                let detail = format_args!(
                    "no ticket for {name}, the principal that the request requires: {}",
                    failure.detail
                );
                Failure::new(failure.stage, failure.cause, detail)
            }
            _ => failure,
        }
    }
}
