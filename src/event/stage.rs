//! The steps of an upcall.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A step of an upcall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Deciding whether the request may be served.
    Authorise,
    /// Reading the configuration.
    Config,
    /// Taking a slot for the negotiation.
    Admit,
    /// Starting the process that negotiates.
    Launch,
    /// Finding the host name of a network identifier.
    Resolve,
    /// Finding the credentials of the requester.
    Credentials,
    /// Asking the KDC for a ticket of the service.
    Kdc,
    /// Finding and connecting to the server.
    Connect,
    /// Exchanging tokens with the server.
    Negotiate,
    /// Writing the context into the key.
    Publish,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authorise => "authorise",
            Self::Config => "config",
            Self::Admit => "admit",
            Self::Launch => "launch",
            Self::Resolve => "resolve",
            Self::Credentials => "credentials",
            Self::Kdc => "kdc",
            Self::Connect => "connect",
            Self::Negotiate => "negotiate",
            Self::Publish => "publish",
        })
    }
}
