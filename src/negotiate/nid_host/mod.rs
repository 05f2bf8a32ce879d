//! Finds the host that a network identifier belongs to.
//!
//! Kerberos names servers by host, Lustre by network identifier. The monitor, which alone reads lgss.toml, makes a
//! [`HostLookup`]. The worker, which alone talks to the name service and runs the site's program, resolves it.

#[cfg(feature = "gss")]
mod find;
mod lookup;
#[cfg(feature = "gss")]
mod program;

#[cfg(feature = "gss")]
pub use find::SystemNames;
#[cfg(feature = "gss")]
pub(crate) use find::{NameService, own_host};
pub use lookup::HostLookup;
