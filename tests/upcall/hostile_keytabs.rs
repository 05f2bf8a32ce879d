//! Keytabs that are made to cost time or memory, or to crash their reader (rules S9, S22): the failure names them.

use crate::support::node::{Ask, Node, false_key, keytab};
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use crate::support::wait::{stretched, wait_for};
use nix::errno::Errno;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::{Duration, Instant};

crate::trials![
    hostile_keytabs_of_a_user_are_told_and_cost_little,
    hostile_keytabs_of_the_node_are_told_and_cost_little,
];

const MIB: usize = 1024 * 1024;

/// Each with its name.
fn crafted() -> Vec<(&'static str, Vec<u8>)> {
    let entry = false_key("nobody/of-all@NOWHERE.TEST", 1, 18);
    let with_length = |length: i32| [&[5, 2][..], &length.to_be_bytes(), &[0; 64]].concat();
    let with_components = |count: u16| {
        let mut entry = entry.clone();
        entry[4..6].copy_from_slice(&count.to_be_bytes());
        keytab(&[entry])
    };
    let hole = [&(-1i32).to_be_bytes()[..], &[0]].concat();
    vec![
        ("truncated", keytab(std::slice::from_ref(&entry))[..40].to_vec()),
        ("another version", [&[5, 9][..], &entry].concat()),
        ("an endless entry", with_length(i32::MAX)),
        ("an endless hole", with_length(i32::MIN)),
        ("a hole beyond the end", with_length(-0x7fff_0000)),
        ("no components", with_components(0)),
        ("65 535 components", with_components(u16::MAX)),
        ("nothing but zeros", vec![0; 16 * MIB]),
        ("nothing but holes", keytab(&vec![hole; 3 * MIB])),
        ("200 000 keys", keytab(&vec![entry; 200_000])),
    ]
}

fn hostile_keytabs_of_a_user_are_told_and_cost_little(shared: &Shared) {
    let settings = Settings { kdc: "5s", ..Settings::default() };
    let site = Site::with(shared.realm(), &settings);
    let file = site.path(&format!("{}.keytab", site.uid()));
    let setting = site.path("%{uid}.keytab");
    site.add_settings(&format!("[caches]\nclient_keytab = \"{}\"\n", setting.display()));
    for (number, (what, content)) in crafted().into_iter().enumerate() {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&file, Some(site.uid()), Some(site.uid())).unwrap();
        let begun = Instant::now();
        let instance = format!(":{number}");
        let outcome = site.ask_with(site.request_as(&site.uid().to_string(), shared.nfs(), &instance));
        assert!(begun.elapsed() < stretched(Duration::from_secs(15)), "{what}: {:?}", begun.elapsed());
        assert_ne!(outcome.errno(), Errno::EIO, "{what}: {:#?}", site.log.lines());
        site.wait_until_idle();
        let told = wait_for("the line of this request", Duration::from_secs(10), || {
            site.log.lines().into_iter().filter(|line| !line.contains("no credentials: ")).nth(number)
        });
        assert!(told.contains(&file.display().to_string()), "{what}: {told}");
    }
}

fn hostile_keytabs_of_the_node_are_told_and_cost_little(shared: &Shared) {
    let node = Node::new(shared.realm());
    let file = node.path("hostile");
    for (what, content) in crafted() {
        fs::write(&file, content).unwrap();
        let begun = Instant::now();
        let answer = node.ask(&Ask { roles: "rmo", keytab: Some(&file), ..Ask::default() });
        assert!(begun.elapsed() < stretched(Duration::from_secs(15)), "{what}: {:?}", begun.elapsed());
        let told = answer.failure("credentials", "no_machine_credential");
        assert!(told.contains(&file.display().to_string()), "{what}: {told}");
    }
}
