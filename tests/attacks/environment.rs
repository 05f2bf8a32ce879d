//! What an attacker leaves in the environment of its process: rules S4 and S7.

use crate::attack::{Attack, End};
use std::fs;
use std::os::unix::fs::PermissionsExt;

pub(crate) fn attacks() -> Vec<Attack> {
    // `@D@` is the attacker's own directory.
    [
        ("KRB5_CONFIG", "@D@/krb5.conf"),
        ("KRB5_KTNAME", "FILE:@D@/keytab"),
        ("KRB5_CLIENT_KTNAME", "FILE:@D@/keytab"),
        ("KRB5_TRACE", "@D@/trace"),
        ("KRB5RCACHEDIR", "@D@"),
        ("GSS_MECH_CONFIG", "@D@/mech"),
        ("LD_PRELOAD", "@D@/evil.so"),
        ("LD_LIBRARY_PATH", "@D@"),
        ("LD_AUDIT", "@D@/evil.so"),
        ("GCONV_PATH", "@D@"),
        ("HOSTALIASES", "@D@/hosts"),
        ("RES_OPTIONS", "debug"),
        ("LOCALDOMAIN", "evil.test"),
        ("TMPDIR", "@D@"),
        ("HOME", "@D@"),
        ("LOGNAME", "../../root"),
        ("RUST_BACKTRACE", "full"),
        ("OPENSSL_CONF", "@D@/openssl.cnf"),
    ]
    .into_iter()
    .map(|(name, value)| {
        Attack::asking("S7", &format!("{name} in the environment"), End::OwnContext, move |scene| {
            let directory = scene.site.path("user");
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
            let wrong =
                "[libdefaults]\n default_realm = EVIL.TEST\n default_ccache_name = FILE:/etc/shadow\n";
            fs::write(directory.join("krb5.conf"), wrong).unwrap();
            let value = value.replace("@D@", directory.to_str().unwrap());
            // For the program alone: the loader of those that start it would heed it, too.
            let request = scene.honest_request("");
            let outcome = scene.ask_with_environment(&[format!("{name}={value}")], request);
            let left = fs::read_dir(&directory).unwrap().count();
            assert_eq!(left, 1, "something was made in the attacker's directory");
            outcome
        })
    })
    .collect()
}
