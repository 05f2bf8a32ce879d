//! The KCM daemon of SSSD, for one site, with a socket of its own.

use super::process::{Daemon, command};
use super::site::Site;
use super::wait::wait_for;
use std::fs;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Its database and logs stay in a mount namespace of its own.
const PRIVATE: &str = "for d in /etc/sssd /var/lib/sss /var/log/sssd /run; do mount -t tmpfs lgss-test $d; done && \
    mkdir -p /var/lib/sss/db /var/lib/sss/secrets /run/sssd && cp sssd.conf /etc/sssd/ && chmod 600 /etc/sssd/sssd.conf && \
    sssd --genconf-section=kcm; exec /usr/libexec/sssd/sssd_kcm --uid 0 --gid 0 --logger=stderr";

/// Ends on drop.
#[derive(Debug)]
pub(crate) struct Kcm {
    _daemon: Daemon,
}

impl Kcm {
    /// Starts it and tells the site's krb5.conf of it.
    pub(crate) fn start(site: &Site) -> Self {
        let socket = site.path("kcm.socket");
        let config = format!("[sssd]\nservices =\n[kcm]\nsocket_path = {}\n", socket.display());
        fs::write(site.path("sssd.conf"), config).unwrap();
        let krb5 = fs::read_to_string(site.path("krb5.conf")).unwrap();
        let told = format!("[libdefaults]\n kcm_socket = {}\n", socket.display());
        fs::write(site.path("krb5.conf"), krb5.replacen("[libdefaults]\n", &told, 1)).unwrap();
        let mut unshare = command("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-c", PRIVATE]);
        let mut daemon = Daemon::start(unshare, &site.path(""), "kcm.log");
        wait_for("the KCM daemon", Duration::from_secs(15), || {
            if daemon.ended().is_some() {
                panic!("no KCM daemon: {}", fs::read_to_string(site.path("kcm.log")).unwrap_or_default());
            }
            UnixStream::connect(&socket).ok()
        });
        Self { _daemon: daemon }
    }
}
