//! Files that an attacker puts where the host has its configuration, in a mount namespace of its own: rule S4.

use crate::attack::{Attack, End, World};
use crate::plan::{PlantedFile, Step};

pub(crate) fn attacks() -> Vec<Attack> {
    let etc = |name: &str, path: &'static str, content: &'static str| Attack {
        worlds: &[World::UserNamespace],
        ..Attack::asking("S4", name, End::OwnContext, move |scene| {
            let mut steps = scene.attacker();
            let planted = PlantedFile {
                path: path.to_owned(),
                // Root of the namespace.
                owner: 0,
                mode: 0o644,
                content: content.as_bytes().to_vec(),
            };
            steps.push(Step::PrivateDirectory { directory: "/etc".to_owned(), files: vec![planted] });
            scene.site.ask_after(steps, scene.honest_request(""))
        })
    };
    vec![
        etc("an own krb5.conf", "/etc/krb5.conf", "[libdefaults]\n default_realm = EVIL.TEST\n"),
        etc("an own list of libraries to load first", "/etc/ld.so.preload", "/etc/evil.so\n"),
        etc("an own name service", "/etc/nsswitch.conf", "hosts: evil\npasswd: evil\n"),
        etc("own host names", "/etc/hosts", "192.0.2.1 localhost\n"),
        etc("an own list of users", "/etc/passwd", "evil:x:0:0::/:/bin/sh\n"),
        etc("own rules of request-key(8)", "/etc/request-key.conf", "create user * * /bin/false\n"),
        etc("an own resolver", "/etc/resolv.conf", "nameserver 192.0.2.1\n"),
        etc("own settings of OpenSSL", "/etc/ssl/openssl.cnf", "openssl_conf = evil\n"),
    ]
}
