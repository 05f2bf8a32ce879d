//! Very many names in /tmp, made by another user.

use crate::plan::PlantedFile;
use crate::support::probe::{Step, as_user};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use std::fs;

crate::trials![many_names_of_one_file_hide_no_cache, many_files_named_like_the_users_own_hide_no_cache,];

/// Steps in a private /tmp with the user's cache and the files that another user's script makes.
fn steps(shared: &Shared, site: &Site, script: &str) -> (Vec<Step>, String) {
    shared.realm().ticket(site.uid(), &site.cache("mine"));
    let content = fs::read(site.path("user").join("mine")).unwrap();
    let path = format!("/tmp/krb5cc_{}_Ab3dEf", site.uid());
    let cache = PlantedFile { path: path.clone(), owner: site.uid(), mode: 0o600, content };
    let other = site.machine_uid();
    let words = ["setpriv", "--clear-groups", "--reuid", &other.to_string(), "perl", "-e", script];
    let mut steps = vec![
        Step::PrivateDirectory { directory: "/tmp".to_owned(), files: vec![cache] },
        Step::Run { words: ["chmod", "1777", "/tmp"].map(str::to_owned).to_vec(), input: String::new() },
        Step::Run { words: words.map(str::to_owned).to_vec(), input: String::new() },
    ];
    steps.extend(as_user(site.uid()));
    (steps, path)
}

fn many_names_of_one_file_hide_no_cache(shared: &Shared) {
    let site = Site::new(shared.realm());
    let script = "open(F, '>/tmp/krb5cc_0') or die; for (1..60000) { link('/tmp/krb5cc_0', qq(/tmp/krb5cc_x$_)) or die }";
    let (steps, path) = steps(shared, &site, script);
    call_null_with(&site.ask_after(steps, site.request(shared.nfs())).context(), shared.nfs());
    let (chosen, others) = site.log.wait_for_choice();
    assert!(chosen.contains(&format!(" in FILE:{path}, ")), "{chosen}");
    assert!(others.contains(&"/tmp: 60001 more of other users".to_owned()), "{others:?}");
    site.wait_until_idle();
}

/// Each is a separate file, and none is the user's.
fn many_files_named_like_the_users_own_hide_no_cache(shared: &Shared) {
    let site = Site::new(shared.realm());
    let script = format!("for (1..30000) {{ open(F, qq(>/tmp/krb5cc_{}_$_)) or die; close F }}", site.uid());
    let (steps, path) = steps(shared, &site, &script);
    call_null_with(&site.ask_after(steps, site.request(shared.nfs())).context(), shared.nfs());
    let (chosen, _) = site.log.wait_for_choice();
    assert!(chosen.contains(&format!(" in FILE:{path}, ")), "{chosen}");
    site.wait_until_idle();
}
