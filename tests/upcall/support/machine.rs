//! What the tests need on this machine.

use std::path::Path;

/// Where scripts/setup unpacks plugins of MIT Kerberos that would change other tests if they were installed.
pub(crate) const PLUGINS: &str = "/usr/local/lib/lgss-test/plugins";
/// Programs and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 23] = [
    ("/sbin/request-key", "keyutils"),
    ("/usr/bin/keyctl", "keyutils"),
    ("/usr/sbin/krb5kdc", "krb5-kdc"),
    ("/usr/sbin/kadmin.local", "krb5-admin-server"),
    ("/usr/bin/kinit", "krb5-user"),
    ("/usr/local/lib/lgss-test/heimdal/usr/bin/kinit.heimdal", "heimdal-clients, unpacked by scripts/setup"),
    ("/usr/local/lib/lgss-test/heimdal/usr/sbin/kcm", "heimdal-kcm, unpacked by scripts/setup"),
    ("/usr/lib/x86_64-linux-gnu/libkrb5.so.26", "libkrb5-26-heimdal"),
    (PLUGINS, "krb5-k5tls and krb5-pkinit, unpacked by scripts/setup"),
    ("/usr/lib/python3/dist-packages/kdcproxy", "python3-kdcproxy"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/lib/x86_64-linux-gnu/krb5/plugins/libkrb5/sssd_krb5_locator_plugin.so", "sssd-common"),
    ("/usr/bin/ganesha.nfsd", "nfs-ganesha"),
    ("/usr/lib/x86_64-linux-gnu/ganesha/libfsalmem.so", "nfs-ganesha-mem"),
    ("/usr/libexec/sssd/sssd_kcm", "sssd-kcm"),
    ("/usr/bin/faketime", "faketime"),
    ("/usr/bin/cc", "gcc"),
    ("/usr/bin/python3", "python3"),
    ("/usr/bin/setpriv", "util-linux"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/nsenter", "util-linux"),
    ("/bin/mount", "mount"),
    ("/bin/ip", "iproute2"),
];

/// # Panics
/// If something is missing, naming it.
pub(crate) fn require_all() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "these tests need root: they install request-key rules and change ids"
    );
    let missing: Vec<_> = PROGRAMS.iter().filter(|(path, _)| !Path::new(path).exists()).collect();
    assert!(missing.is_empty(), "missing for these tests (path, Debian package): {missing:?}");
    assert!(Path::new("/proc/keys").exists(), "these tests need a kernel with keyrings and /proc/keys");
    assert!(Path::new("/etc/request-key.d").is_dir(), "these tests need keyutils with /etc/request-key.d");
}
