//! Marked secrets on the ways that others than their owner give them: a hook of the site's, an operator.

use super::cache_file::plant;
use super::operators::{Membership, Operators};
use super::outcome::Outcome;
use super::server::Target;
use super::site::{Site, install_content};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

/// The site's hook gives the marked cache, in base64, through monitor and launcher; and an operator's hook runs.
pub(crate) fn tickets_from_a_hook(site: &Site, target: &Target, realm: &str) {
    let hooks = site.path("hooks.d");
    fs::create_dir(&hooks).unwrap();
    fs::set_permissions(&hooks, fs::Permissions::from_mode(0o755)).unwrap();
    let cache = site.path("user").join("marked");
    let script =
        format!("#!/bin/sh\nprintf '{{\"ccache\": \"%s\"}}' \"$(base64 -w0 {})\"\n", cache.display());
    install_content(script, &hooks.join("fetch"), 0o755);
    let config = site.path("lgss.toml");
    let before = fs::read_to_string(&config).unwrap();
    let with_hook = before.replace("[caches]\n", "[caches]\nhook = \"fetch\"\n");
    fs::write(&config, format!("{with_hook}[hooks]\ndirectory = \"{}\"\n", hooks.display())).unwrap();
    // A principal that only the hook's cache has.
    let outcome = site.ask_with(site.request_with(target, &format!("principal=marked@{realm}")));
    assert!(matches!(outcome, Outcome::Established(_)), "{outcome:?}");
    let line = site.log.wait_for(|line| line.contains(" in HOOK:"));
    assert!(line.contains("marked@"), "{line}");
    fs::write(&config, before).unwrap();
}

/// A member of the helper's group loads the key that is in this file. What the secret crosses is the pipe to the helper.
pub(crate) fn loaded_by_an_operator(site: &Site, key: &Path) -> String {
    let operators = Operators::of(site);
    let home = site.path("operator");
    fs::create_dir(&home).unwrap();
    plant(&home.join("key"), &fs::read(key).unwrap(), operators.uid());
    chown(&home, Some(operators.uid()), None).unwrap();
    let script = format!("cd {} && lgss_sk -l key -v && lgss_sk list && rm key", home.display());
    let output = operators.run(Membership::Member, &script);
    assert!(output.status.success(), "{output:?}");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
