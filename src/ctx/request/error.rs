//! What is wrong with a request's text: one variant for each offence.

/// Longest callout accepted, in bytes (request-key's buffer).
pub const CALLOUT_LIMIT: usize = 1023;

/// What is wrong with a request's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Not `lgss:<uid>:<service>@<host>[:<instance>]`.
    #[error("description is not lgss:<uid>:<service>@<host>[:<instance>]")]
    Description,
    /// The callout does not start with its version.
    #[error("callout does not start with \"lgss1;\"")]
    Version,
    /// The callout is over [`CALLOUT_LIMIT`].
    #[error("callout is longer than {CALLOUT_LIMIT} bytes")]
    TooLong,
    /// Bytes outside printable ASCII.
    #[error("callout or description holds bytes outside printable ASCII")]
    NotPrintable,
    /// A field that is not known.
    #[error("callout holds a field that is not known")]
    UnknownField,
    /// A field twice.
    #[error("callout holds the field {0} twice")]
    Duplicate(&'static str),
    /// A field that must be there.
    #[error("callout lacks the field {0}")]
    Missing(&'static str),
    /// A field whose value does not follow its grammar.
    #[error("callout's field {0} is malformed")]
    Malformed(&'static str),
    /// A value that would be read back as another.
    #[error("a value cannot be encoded in the request (it contains a separator or a fraction of a second)")]
    Unwritable,
}
