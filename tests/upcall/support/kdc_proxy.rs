//! A KDC behind HTTPS (MS-KKDCP): python3-kdcproxy before a realm's KDC.

use super::authority::Authority;
use super::process::{Daemon, command};
use super::realm::Realm;
use super::site::Site;
use super::wait::wait_for;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Ends on drop.
#[derive(Debug)]
pub(crate) struct KdcProxy {
    port: u16,
    _daemon: Daemon,
}

impl KdcProxy {
    /// Starts it for one site, with a certificate of this authority.
    #[track_caller]
    pub(crate) fn start(site: &Site, realm: &Realm, authority: &Authority) -> Self {
        let (certificate, key) = authority.issue("proxy", "subjectAltName = IP:127.0.0.1\n");
        let kdc = format!("kerberos+tcp://127.0.0.1:{}", realm.kdc_port());
        let configuration = site.path("kdcproxy.conf");
        fs::write(&configuration, format!("[{}]\nkerberos = {kdc}\nkpasswd = {kdc}\n", realm.name()))
            .unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/kdc_proxy.py");
        // Debian's, which has the package.
        let mut python = command("/usr/bin/python3");
        python.arg(source).arg(certificate).arg(key).env("KDCPROXY_CONFIG", configuration);
        let mut daemon = Daemon::start(python, &site.path(""), "kdcproxy.log");
        let port = wait_for("the proxy of the KDC", Duration::from_secs(20), || {
            let said = fs::read_to_string(site.path("kdcproxy.log")).unwrap();
            assert!(daemon.ended().is_none(), "no proxy: {said}");
            said.lines().next()?.strip_prefix("port ")?.parse().ok()
        });
        Self { port, _daemon: daemon }
    }

    /// How krb5.conf names it.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}/KdcProxy", self.port)
    }
}
