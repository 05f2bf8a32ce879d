//! How tightly a worker is confined (rule S13).

use serde::{Deserialize, Serialize};

/// The worker's sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerSandbox {
    /// The host's configuration and libraries, the credentials handed over, and the calls that MIT Kerberos itself needs.
    #[default]
    Strict,
    /// Also what plugins of the site's may need: the state of daemons, local sockets, any TCP port.
    Plugins,
    /// No Landlock and no list of calls.
    Off,
}
