//! What an attacker leaves in the environment of its process: rule S7. No process of ours has it.

use crate::attack::{Attack, Scene};
use crate::busy::Busy;

pub(crate) fn attacks() -> Vec<Attack> {
    [
        "KRB5_CONFIG",
        "KRB5_KTNAME",
        "KRB5_CLIENT_KTNAME",
        "KRB5_TRACE",
        "KRB5RCACHEDIR",
        "GSS_MECH_CONFIG",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "GCONV_PATH",
        "HOSTALIASES",
        "RES_OPTIONS",
        "LOCALDOMAIN",
        "TMPDIR",
        "HOME",
        "LOGNAME",
        "RUST_BACKTRACE",
        "OPENSSL_CONF",
    ]
    .into_iter()
    .map(|name| {
        let attack = format!("{name} in the environment");
        Attack::checked("S7", &attack, "no process of ours has it", move |scene| leave(scene, name))
    })
    .collect()
}

fn leave(scene: &Scene<'_>, name: &str) {
    let value = scene.site.path("user/planted").display().to_string();
    let busy = Busy::of(scene, &[format!("{name}={value}")], Vec::new());
    assert!(String::from_utf8_lossy(&busy.of_the_requester("environ")).contains(&value), "it is not there");
    for environment in busy.read("environ") {
        let environment = String::from_utf8_lossy(&environment);
        assert!(!environment.is_empty() && !environment.contains(&value), "{environment:?}");
    }
    let [worker, _] = busy.read("environ");
    let own = format!("KRB5_CONFIG={}/krb5.conf\0", scene.site.path("").display());
    assert_eq!(String::from_utf8_lossy(&worker), own);
    busy.expect_the_worker_to_report();
}
