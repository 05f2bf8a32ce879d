//! What hooks read and write: each field with its class.

use serde::{Deserialize, Deserializer, Serialize};

use crate::class::classes;
use crate::secret::Secret;

/// For a hook that knows host names: a network identifier.
#[derive(Debug, Serialize)]
pub(crate) struct HostInput {
    /// `host`.
    pub purpose: &'static str,
    /// As Lustre writes it.
    pub nid: String,
    /// The network driver, as `nid2hostname` gets it.
    pub driver: Option<&'static str>,
    /// The network's number.
    pub network: u16,
    /// The address in it.
    pub address: u32,
}

/// What it answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostAnswer {
    /// `None` if it knows none.
    pub host: Option<String>,
}

/// For a hook that fetches a user's credentials.
#[derive(Debug, Serialize)]
pub(crate) struct CacheInput {
    /// `credentials`.
    pub purpose: &'static str,
    /// The user.
    pub uid: u32,
    /// For a program's request.
    pub service: Option<String>,
    /// For Lustre's.
    pub target: Option<String>,
}

/// What it answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheAnswer {
    /// A FILE cache in base64; `None` if it has nothing.
    #[serde(deserialize_with = "borrowed_text")]
    pub ccache: Option<Secret>,
}

/// For a hook that an operator runs.
#[derive(Debug, Serialize)]
pub(crate) struct OperatorInput<'a> {
    /// `operator`.
    pub purpose: &'static str,
    /// The hook's own name.
    pub hook: &'a str,
    /// Who asks.
    pub uid: u32,
}

classes!(HostInput { purpose: public, nid: public, driver: public, network: public, address: public });
classes!(HostAnswer { host: public });
classes!(CacheInput { purpose: public, uid: public, service: public, target: public });
classes!(CacheAnswer { ccache: secret });

/// The fields of an [`OperatorInput`] and of its answer, which is any JSON: it is shown to who asks.
pub(crate) const OPERATOR_FIELDS: &[crate::class::ClassedField] =
    &[public("purpose"), public("hook"), public("uid"), public("answer")];

const fn public(name: &'static str) -> crate::class::ClassedField {
    crate::class::ClassedField { name, parts: crate::class::FieldParts::Value(crate::class::Class::Public) }
}

/// A text as it stands in what is read, since a copy of an unescaped one would not be zeroed: so without escapes.
fn borrowed_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<&'de str>::deserialize(deserializer)?;
    Ok(text.map(|text| Secret::new(text.as_bytes().to_vec())))
}
