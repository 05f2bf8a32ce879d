//! `lgss_agent` with `scope = "session"`: each login session has caches of its own.

use crate::support::cgroup::Cgroup;
use crate::support::kcm::Kcm;
use crate::support::process::{command, succeed};
use crate::support::realm::PASSWORD;
use crate::support::shared::Shared;
use crate::support::site::Site;

crate::trials![
    a_cache_of_another_session_is_not_seen,
    processes_without_a_session_share_what_those_of_their_cgroup_have,
];

fn site(shared: &Shared) -> (Site, Kcm) {
    let site = Site::new(shared.realm());
    site.add_settings("[agent]\nscope = \"session\"\n");
    let kcm = Kcm::start_agent(&site);
    (site, kcm)
}

/// Runs a script as the site's user in a process that `enter` has put somewhere, as root.
#[track_caller]
fn within(site: &Site, enter: &str, script: &str) -> String {
    let mut shell = command("sh");
    let user = format!("setpriv --reuid={0} --regid={0} --clear-groups sh -euc", site.uid());
    shell.args(["-euc", &format!("{enter}\nexec {user} \"$1\""), "sh", script]);
    shell.env("KRB5_CONFIG", site.path("krb5.conf")).env("KRB5CCNAME", "KCM:").env("PASSWORD", PASSWORD);
    succeed(&mut shell, "")
}

const GETS: &str = "printf '%s\\n' \"$PASSWORD\" | kinit alice >/dev/null; klist";
const LISTS: &str = "klist 2>&1 || true; klist -l || true";

fn a_cache_of_another_session_is_not_seen(shared: &Shared) {
    let (site, _kcm) = site(shared);
    // The kernel gives a process that sets its login uid a new audit session, which its children have, too.
    let login = format!("echo {} > /proc/self/loginuid", site.uid());
    let first = within(&site, &login, &format!("{GETS}; sh -c klist"));
    assert_eq!(first.matches("Default principal: alice@").count(), 2, "{first}");
    let second = within(&site, &login, LISTS);
    assert!(second.contains("not found") && !second.contains("alice"), "{second}");
    let none = within(&site, "", LISTS);
    assert!(none.contains("not found") && !none.contains("alice"), "{none}");
}

fn processes_without_a_session_share_what_those_of_their_cgroup_have(shared: &Shared) {
    let (site, _kcm) = site(shared);
    let cgroup = Cgroup::new(site.uid());
    // A test's own session would come first.
    let leave = "test \"$(cat /proc/self/sessionid)\" = 4294967295 || echo 4294967295 > /proc/self/loginuid";
    let enter = format!("{leave}; echo $$ > {}/cgroup.procs", cgroup.inner());
    within(&site, &enter, GETS);
    let same = within(&site, &enter, LISTS);
    assert!(same.contains("Default principal: alice@"), "{same}");
    let elsewhere = within(&site, leave, LISTS);
    assert!(elsewhere.contains("not found") && !elsewhere.contains("alice"), "{elsewhere}");
}
