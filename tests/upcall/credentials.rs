//! Credentials that are missing or unusable: the requester learns which of the two, and the log says what to do.

use crate::support::process::{command_as, succeed};
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::Cause;
use nix::errno::Errno;
use nix::sys::stat::Mode;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

crate::trials![
    without_a_ticket_the_key_says_enokey_and_the_log_says_kinit,
    an_expired_ticket_is_told_from_none,
    an_empty_cache_counts_as_no_ticket,
    a_cache_of_a_type_that_one_process_keeps_is_refused,
    a_link_to_anothers_cache_is_not_followed,
    a_cache_of_another_owner_is_not_used,
    a_cache_with_a_second_name_is_not_used,
    a_cache_that_others_may_write_is_not_used,
    a_fifo_in_place_of_the_cache_holds_nobody_up,
    a_directory_or_a_device_in_place_of_the_cache_is_refused,
    a_cache_of_random_bytes_is_refused,
];

fn without_a_ticket_the_key_says_enokey_and_the_log_says_kinit(shared: &Shared) {
    let site = Site::new(shared.realm());
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::NoTicket, shared.nfs());
}

fn an_expired_ticket_is_told_from_none(shared: &Shared) {
    let site = Site::new(shared.realm());
    shared.realm().expired_ticket(site.uid(), &format!("FILE:{}", site.default_cache().display()));
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::TicketExpired, shared.nfs());
}

fn an_empty_cache_counts_as_no_ticket(shared: &Shared) {
    let site = Site::new(shared.realm());
    own(&site, &site.default_cache(), b"");
    assert_eq!(site.ask(shared.nfs()).errno(), Errno::ENOKEY);
}

fn a_cache_of_a_type_that_one_process_keeps_is_refused(shared: &Shared) {
    let site = Site::new(shared.realm());
    for name in
        ["MEMORY:x", "KEYRING:thread:x", "KEYRING:process:x", "FILE:relative", "FILE:/tmp/../etc/shadow"]
    {
        let outcome = site.ask_with(site.request_with(shared.nfs(), &format!("cache={name}")));
        assert_eq!(outcome.errno(), Errno::ENOKEY, "{name}; log {:#?}", site.log.lines());
    }
    site.wait_until_idle();
}

/// A valid cache of the site's user in another place.
fn good_cache(site: &Site, shared: &Shared) -> std::path::PathBuf {
    shared.realm().ticket(site.uid(), &site.cache("good"));
    site.path("user").join("good")
}

fn own(site: &Site, path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    chown(path, Some(site.uid()), Some(site.uid())).unwrap();
}

fn a_link_to_anothers_cache_is_not_followed(shared: &Shared) {
    let (site, victim) = (Site::new(shared.realm()), Site::new(shared.realm()));
    victim.ticket(shared.realm());
    for target in [victim.default_cache(), good_cache(&site, shared), "/etc/shadow".into()] {
        let _ = fs::remove_file(site.default_cache());
        symlink(&target, site.default_cache()).unwrap();
        assert_eq!(site.ask(shared.nfs()).errno(), Errno::ENOKEY, "{}", target.display());
    }
}

fn a_cache_of_another_owner_is_not_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    let good = good_cache(&site, shared);
    // The user may read them, so only the owner is wrong.
    for owner in [0, site.machine_uid()] {
        fs::copy(&good, site.default_cache()).unwrap();
        fs::set_permissions(site.default_cache(), fs::Permissions::from_mode(0o644)).unwrap();
        chown(site.default_cache(), Some(owner), Some(owner)).unwrap();
        assert_eq!(site.ask(shared.nfs()).errno(), Errno::ENOKEY, "owner {owner}");
        fs::remove_file(site.default_cache()).unwrap();
    }
}

fn a_cache_with_a_second_name_is_not_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    let good = good_cache(&site, shared);
    fs::hard_link(&good, site.path("user").join("second")).unwrap();
    let request = site.request_with(shared.nfs(), &format!("cache=FILE:{}", good.display()));
    assert_eq!(site.ask_with(request).errno(), Errno::ENOKEY);
}

fn a_cache_that_others_may_write_is_not_used(shared: &Shared) {
    let site = Site::new(shared.realm());
    for mode in [0o620, 0o602] {
        site.ticket(shared.realm());
        fs::set_permissions(site.default_cache(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(site.ask(shared.nfs()).errno(), Errno::ENOKEY, "mode {mode:o}");
        fs::remove_file(site.default_cache()).unwrap();
    }
}

fn a_fifo_in_place_of_the_cache_holds_nobody_up(shared: &Shared) {
    let site = Site::new(shared.realm());
    nix::unistd::mkfifo(&site.default_cache(), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    chown(site.default_cache(), Some(site.uid()), Some(site.uid())).unwrap();
    assert_eq!(site.ask(shared.nfs()).errno(), Errno::ENOKEY);
    site.wait_until_idle();
}

fn a_directory_or_a_device_in_place_of_the_cache_is_refused(shared: &Shared) {
    let site = Site::new(shared.realm());
    for name in ["FILE:/dev/zero", "FILE:/dev/tty", "FILE:/proc/self/fd/3", "FILE:/", "DIR:/tmp", "DIR:/proc"]
    {
        let outcome = site.ask_with(site.request_with(shared.nfs(), &format!("cache={name}")));
        assert_eq!(outcome.errno(), Errno::ENOKEY, "{name}; log {:#?}", site.log.lines());
    }
    site.wait_until_idle();
}

fn a_cache_of_random_bytes_is_refused(shared: &Shared) {
    let site = Site::new(shared.realm());
    let mut noise = vec![5, 4, 0, 12];
    noise.extend((0u32..4000).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]));
    own(&site, &site.default_cache(), &noise);
    assert_eq!(site.ask(shared.nfs()).errno(), Errno::ENOKEY);
    // The machine's own tools reject it too.
    let mut klist = command_as(site.uid(), "sh");
    klist.arg("-c").arg(format!("! klist -s -c {}", site.default_cache().display()));
    succeed(&mut klist, "");
}
