//! `lgss_agent` with `storage = "keyring"` under other settings of the kernel, which count for the whole machine.

use crate::support::kept_caches::KeptCaches;
use crate::support::process::{command, succeed};
use crate::support::shared::Shared;
use crate::support::wait::wait_for;
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

crate::trials![
    tickets_larger_than_a_key_are_the_same_after_a_kill,
    the_persistent_keyring_lives_as_long_as_the_agent,
];

/// A setting of the kernel's about keys. On drop it is as it was.
struct KeySetting {
    path: PathBuf,
    former: String,
}

impl KeySetting {
    fn set(name: &str, value: &str) -> Self {
        let path = Path::new("/proc/sys/kernel/keys").join(name);
        let former = fs::read_to_string(&path).unwrap();
        fs::write(&path, value).unwrap();
        Self { path, former }
    }
}

impl Drop for KeySetting {
    fn drop(&mut self) {
        fs::write(&self.path, &self.former).unwrap();
    }
}

fn tickets_larger_than_a_key_are_the_same_after_a_kill(shared: &Shared) {
    let _quota = KeySetting::set("maxbytes", "1000000");
    let kept = KeptCaches::new(shared.realm());
    let program = kept.site.path("large_ticket");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/large_ticket.c");
    succeed(
        command("cc").args(["-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(source).arg("-lkrb5"),
        "",
    );
    let agent = kept.agent();
    kept.done("kinit alice");
    let service = shared.realm().service().replace('@', "/");
    for size in [20 * 1024, 60 * 1024] {
        kept.done(&format!("{} KCM: {service} {size}", program.display()));
    }
    let keys = kept.in_keyring("cat /proc/keys");
    assert!(keys.contains(":0:2") && keys.contains(":1:2"), "no ticket is split: {keys}");
    let (listed, bytes) = (kept.done("klist -e -f"), exported(&kept));
    assert!(bytes.len() > 60 * 1024, "{}", bytes.len());
    agent.signal(Signal::SIGKILL);
    drop(agent);
    let _next = kept.agent();
    assert_eq!((kept.done("klist -e -f"), exported(&kept)), (listed, bytes));
}

/// All credentials of the default cache, as the agent lists them.
fn exported(kept: &KeptCaches) -> Vec<u8> {
    let mut client = kept.connect();
    let default = client.done(20, &[]);
    client.done(13001, &default)
}

/// Seconds that the persistent keyring has left.
fn left(kept: &KeptCaches) -> Option<u64> {
    let keys = kept.attempt("cat /proc/keys").unwrap();
    let line = keys.lines().find(|line| line.contains(&format!("_persistent.{}", kept.site.uid())))?;
    line.split_whitespace().nth(3)?.strip_suffix('s')?.parse().ok()
}

fn the_persistent_keyring_lives_as_long_as_the_agent(shared: &Shared) {
    let _expiry = KeySetting::set("persistent_keyring_expiry", "8");
    let kept = KeptCaches::new(shared.realm());
    let _agent = kept.agent();
    kept.done("kinit alice");
    for _ in 0..3 {
        let low = wait_for("time to pass", Duration::from_secs(20), || left(&kept).filter(|left| *left <= 6));
        wait_for("the agent's use of the keyring", Duration::from_secs(20), || {
            left(&kept).filter(|left| *left > low)
        });
    }
}
