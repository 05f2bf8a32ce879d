//! Default caches and keytabs as sites configure them, and tickets that are unusable for a particular reason.

use crate::plan::PlantedFile;
use crate::support::acceptor::Acceptor;
use crate::support::cache_file::{CacheFile, plant};
use crate::support::command_line::{json, lgss, lines};
use crate::support::kcm::Kcm;
use crate::support::probe::{Step, as_user};
use crate::support::process::{command, command_as, succeed};
use crate::support::realm::{PASSWORD, Realm};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::private_to_lgss::event::Cause;
use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};

crate::trials![
    the_tokens_of_the_default_cache_are_those_of_mit_kerberos,
    a_default_cache_that_is_a_link_of_the_users_is_followed,
    the_keytab_that_krb5_conf_names_serves_and_so_do_its_further_principals,
    a_postdated_ticket_is_told_as_one,
    credentials_of_gssproxy_are_told_as_such,
    a_ticket_from_a_kdc_with_another_clock_is_not_called_invalid,
    a_ticket_from_before_the_realm_got_a_new_key_is_told_as_one,
    a_cache_of_kcm_serves_from_another_mount_namespace_if_the_socket_is_the_hosts,
];

fn the_tokens_of_the_default_cache_are_those_of_mit_kerberos(shared: &Shared) {
    // The user has no entry in /etc/passwd.
    let directory = "%{TEMP}/%{null}lgss-%{username}-%{uid}-%{euid}-%{USERID}";
    let site = Site::new(shared.realm());
    site.libdefaults(&format!("default_ccache_name = FILE:{directory}"));
    let (temporary, uid) = (site.path("user"), site.uid());
    let expanded = format!("{}/lgss-seven-{uid}-{uid}-{uid}", temporary.display());
    shared.realm().ticket(uid, &format!("FILE:{expanded}"));
    let variables = [("TMPDIR", temporary.to_str().unwrap()), ("LOGNAME", "seven")];
    let context = site.ask_in(&variables, as_user(uid), site.request(shared.nfs())).context();
    call_null_with(&context, shared.nfs());
    assert!(site.log.wait_for_established(1).contains(&format!(" in FILE:{expanded}")));
    // Only the library and its packagers know these directories; klist(1) shows them.
    for token in ["LIBDIR", "BINDIR", "SBINDIR"] {
        let site = Site::new(shared.realm());
        site.libdefaults(&format!("default_ccache_name = FILE:%{{{token}}}/lgss-test-none"));
        let mut klist = command_as(site.uid(), "klist");
        let told = klist.env("KRB5_CONFIG", site.path("krb5.conf")).output().unwrap();
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        let name = told.split_once("filename: ").unwrap().1.split(')').next().unwrap();
        let outcome = site.ask(shared.nfs());
        site.assert_failed(&outcome, Cause::NoTicket, shared.nfs());
        site.log.wait_for_words(&[&format!("FILE:{name}: there is no such cache")]);
    }
}

/// A link as batch systems make it is followed; a link to another user's file, or one that another user made, is not.
fn a_default_cache_that_is_a_link_of_the_users_is_followed(shared: &Shared) {
    let (site, victim) = (Site::new(shared.realm()), Site::new(shared.realm()));
    victim.ticket(shared.realm());
    let real = site.path("user").join("tkt_job");
    shared.realm().ticket(site.uid(), &format!("FILE:{}", real.display()));
    let link = |target: &std::path::Path, owner: u32| {
        let _ = fs::remove_file(site.default_cache());
        symlink(target, site.default_cache()).unwrap();
        lchown(site.default_cache(), Some(owner), Some(owner)).unwrap();
    };
    link(&real, site.uid());
    call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
    let name = format!("FILE:{}", site.default_cache().display());
    assert!(site.log.wait_for_established(1).contains(&format!(" in {name}")));
    for (number, (target, owner, said)) in [
        (victim.default_cache(), site.uid(), "is a link to what belongs to somebody else"),
        ("/etc/shadow".into(), site.uid(), "is a link to what belongs to somebody else"),
        (real.clone(), victim.uid(), "is a link of somebody else's"),
        (site.path("user").join("none"), site.uid(), "the link leads nowhere"),
    ]
    .into_iter()
    .enumerate()
    {
        link(&target, owner);
        let request = site.request_as(&site.uid().to_string(), shared.nfs(), &format!(":{number}"));
        let outcome = site.ask_with(request);
        assert_eq!(outcome.errno(), nix::errno::Errno::ENOKEY, "{said}: {:#?}", site.log.lines());
        site.log.wait_for_words(&[&name, said]);
    }
    site.wait_until_idle();
}

fn the_keytab_that_krb5_conf_names_serves_and_so_do_its_further_principals(shared: &Shared) {
    let site = Site::new(shared.realm());
    let (realm, uid) = (shared.realm(), site.uid());
    let [gone, job] = ["gone", "job"].map(|name| format!("{name}{uid}"));
    let keytab = site.path("user").join(format!("{uid}.keytab"));
    let add = |name: &str| format!("addprinc -randkey {name}");
    let export = |name: &str| format!("ktadd -k {} {name}", keytab.display());
    realm.administrate(&[
        add(&gone),
        add(&job),
        export(&gone),
        export(&job),
        format!("delprinc -force {gone}"),
    ]);
    chown(&keytab, Some(uid), Some(uid)).unwrap();
    site.libdefaults(&format!(
        "default_client_keytab_name = FILE:{}/%{{euid}}.keytab",
        site.path("user").display()
    ));
    call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
    let line = site.log.wait_for_established(1);
    assert!(line.contains(&format!(" as {job}@{} in FILE:{}", realm.name(), keytab.display())), "{line}");
}

fn a_postdated_ticket_is_told_as_one(shared: &Shared) {
    let site = Site::new(shared.realm());
    let cache = format!("FILE:{}", site.default_cache().display());
    shared.realm().ticket_with(site.uid(), &cache, &["-s", "2h", "-l", "5h"]);
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::ClockSkew, shared.nfs());
    site.log.wait_for_words(&[
        &cache,
        "the ticket starts in ",
        "(not valid before 2",
        "the ticket is postdated: to be validated with kinit -v",
    ]);
    // The command says the same and comes to the same result.
    let caches = |words: &[&str]| {
        let mut command = command_as(site.uid(), lgss(&site));
        command.args(["caches", "--config"]).arg(site.path("lgss.toml")).args(words).output().unwrap()
    };
    let output = caches(&[]);
    let text = lines(&output);
    assert_eq!(output.status.code(), Some(12), "{text}");
    assert!(text.contains("the ticket is postdated: to be validated with kinit -v"), "{text}");
    // Caches of others in /tmp may be listed too.
    assert!(
        text.contains("  not valid before 2")
            && ["could not use that", "could use none of these"].iter().any(|said| text.contains(said)),
        "{text}"
    );
    assert!(!text.contains("would use"), "{text}");
    // Another principal's ticket serves, although this one was wished for; log and command say so.
    let name = format!("bob{}", site.uid());
    shared.realm().administrate(&[format!("addprinc -pw \"{PASSWORD}\" {name}")]);
    let bobs = format!("{cache}_bobs");
    let mut kinit = command_as(site.uid(), "kinit");
    kinit.envs(shared.realm().environment()).args(["-c", &bobs, &name]);
    succeed(&mut kinit, &format!("{PASSWORD}\n"));
    let again = site.request_as(&site.uid().to_string(), shared.nfs(), ":again");
    drop(site.ask_with(again).context());
    site.log.wait_for_words(&["chosen: ", &name, &bobs, "; wanted: alice@", "the default one", "postdated"]);
    let output = caches(&["--json"]);
    let answer = &json(&output)[0];
    assert_eq!(answer["would_use"], bobs.as_str(), "{answer:#}");
    assert!(answer["wanted"].as_str().unwrap().contains("not valid before"), "{answer:#}");
}

fn credentials_of_gssproxy_are_told_as_such(shared: &Shared) {
    let site = Site::new(shared.realm());
    shared.realm().ticket(site.uid(), &site.cache("mine"));
    let file = CacheFile::read(&site.path("user").join("mine")).only("krbtgt/");
    let realm = shared.realm().name();
    // Only the service's name differs: two components and a realm become three components and gssproxy's realm.
    let counted = |texts: &[&str]| -> Vec<u8> {
        let one =
            |text: &&str| [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
        texts.iter().flat_map(one).collect()
    };
    let ours = [&2u32.to_be_bytes()[..], &counted(&[&realm, "krbtgt", &realm])].concat();
    let theirs =
        [&3u32.to_be_bytes()[..], &counted(&["X-GSSPROXY:", "Encrypted", "Credentials", "v1"])].concat();
    let bytes = file.bytes();
    let at = bytes.windows(ours.len()).position(|part| part == ours).unwrap();
    let content = [&bytes[..at], &theirs, &bytes[at + ours.len()..]].concat();
    plant(&site.default_cache(), &content, site.uid());
    let outcome = site.ask(shared.nfs());
    site.assert_failed(&outcome, Cause::BadCache, shared.nfs());
    site.log.wait_for_words(&["only credentials of gssproxy"]);
}

/// kinit writes the clock difference into the cache, and the library corrects for it. The presence of another cache
/// does not change that.
fn a_ticket_from_a_kdc_with_another_clock_is_not_called_invalid(_: &Shared) {
    let mut realm = Realm::start();
    let site = Site::new(&realm);
    let cache = format!("FILE:{}", site.default_cache().display());
    realm.ticket_with(site.uid(), &format!("{cache}_other"), &["-l", "1h"]);
    realm.shift_clock("+20m");
    realm.ticket_with(site.uid(), &cache, &["-l", "5h"]);
    let acceptor = Acceptor::start_with(&realm, Some("+20m"));
    drop(site.ask(acceptor.target()).context());
    let (chosen, others) = site.log.wait_for_choice();
    assert!(
        chosen.contains(&format!(" in {cache}, ")) && !chosen.contains("not valid"),
        "{chosen}; {others:?}"
    );
}

fn a_ticket_from_before_the_realm_got_a_new_key_is_told_as_one(_: &Shared) {
    let realm = Realm::start();
    let site = Site::new(&realm);
    site.ticket(&realm);
    let acceptor = Acceptor::start(&realm);
    realm.administrate(&[format!("cpw -randkey krbtgt/{0}@{0}", realm.name())]);
    let outcome = site.ask(acceptor.target());
    assert_ne!(outcome.errno(), nix::errno::Errno::EOPNOTSUPP);
    site.log.wait_for_words(&["the KDC cannot read the ticket, perhaps of an old key (kinit)"]);
}

fn a_cache_of_kcm_serves_from_another_mount_namespace_if_the_socket_is_the_hosts(shared: &Shared) {
    let site = Site::new(shared.realm());
    let _kcm = Kcm::start(&site);
    site.libdefaults("default_ccache_name = KCM:");
    let ticket = shared.realm().kinit(&site.path("krb5.conf"), "KCM:");
    let own_tmp = Step::PrivateDirectory { directory: "/tmp".to_owned(), files: vec![] };
    let steps = [vec![own_tmp], as_user(site.uid()), vec![ticket.clone()]].concat();
    call_null_with(&site.ask_after(steps, site.request(shared.nfs())).context(), shared.nfs());
    assert!(site.log.wait_for_established(1).contains(" in KCM:"), "{:?}", site.log.lines());
    // The command sees the same from there, also where the socket is another one.
    let caches = |script: &str| {
        let setpriv = format!("exec setpriv --clear-groups --reuid {0} --regid {0} --", site.uid());
        let lgss = crate::support::command_line::lgss(&site);
        let script = format!(
            "{script} && {setpriv} {} caches --json --config {}",
            lgss.display(),
            site.path("lgss.toml").display()
        );
        let mut unshare = command("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-c", &script]).env_remove("KRB5CCNAME");
        let output = unshare.output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {output:?}"))
    };
    let answer = caches("mount -t tmpfs lgss-test /tmp");
    assert!(answer["would_use"].as_str().unwrap().starts_with("KCM:"), "{answer:#}");
    // Another socket under the same name.
    let other = PlantedFile { path: "/tmp/other".to_owned(), owner: 0, mode: 0o600, content: Vec::new() };
    let bind = format!("mount --bind /tmp/other {}", site.path("kcm.socket").display());
    let words = ["sh", "-c", &bind].map(str::to_owned).to_vec();
    let own_tmp = Step::PrivateDirectory { directory: "/tmp".to_owned(), files: vec![other] };
    let hide = Step::Run { words, input: String::new() };
    let steps = [vec![own_tmp, hide], as_user(site.uid())].concat();
    let request = site.request_as(&site.uid().to_string(), shared.nfs(), ":other");
    assert_eq!(site.ask_after(steps, request).errno(), nix::errno::Errno::ENOKEY);
    let why = "the requester is in another mount namespace, the KCM daemon is not";
    site.log.wait_for_words(&["KCM:", why]);
    let answer = caches(&format!("mount -t tmpfs lgss-test /tmp && touch /tmp/other && {bind}"));
    let row = answer["caches"].as_array().unwrap().iter().find(|row| row["cache"] == "KCM:");
    assert_eq!(row.unwrap()["reason"], why, "{answer:#}");
    site.wait_until_idle();
}
