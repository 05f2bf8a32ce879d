//! Users' wishes: whose tickets they want used, and what happens when those cannot be used.

use crate::support::cache_file::{CacheFile, Credential};
use crate::support::command_line::{json, lgss, lines};
use crate::support::fuse::{Fuse, Silence};
use crate::support::kcm::Kcm;
use crate::support::probe::{Step, as_user};
use crate::support::process::{command_as, succeed};
use crate::support::realm::PASSWORD;
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::Site;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

crate::trials![
    a_named_cache_serves_although_another_principals_ticket_lives_longer,
    what_cannot_be_used_gives_way_to_the_same_principal,
    a_change_of_principal_is_said_with_its_reason,
    a_wish_that_a_kdc_refuses_is_said,
    a_named_cache_that_is_not_there_is_said,
    of_a_collection_the_primary_cache_serves_and_kswitch_changes_that,
    an_identity_for_the_service_serves_before_the_default_cache,
    an_identity_without_a_cache_is_said,
    an_identity_file_that_cannot_be_trusted_or_read_is_passed_over,
    a_home_directory_that_does_not_answer_holds_nobody_up,
    the_longest_life_serves_if_the_settings_say_so,
    the_command_shows_the_same_wish_in_the_same_words,
];

/// A site whose user has tickets of two principals.
struct Scene<'a> {
    shared: &'a Shared,
    site: Site,
    alice: String,
    bob: String,
}

impl<'a> Scene<'a> {
    fn new(shared: &'a Shared) -> Self {
        let site = Site::new(shared.realm());
        let name = format!("bob{}", site.uid());
        shared.realm().administrate(&[format!("addprinc -pw \"{PASSWORD}\" {name}")]);
        let of_realm = |name: &str| format!("{name}@{}", shared.realm().name());
        let (alice, bob) = (of_realm("alice"), of_realm(&name));
        Self { shared, site, alice, bob }
    }

    fn kinit(&self, principal: &str, cache: &str, life: &str) {
        let mut kinit = command_as(self.site.uid(), "kinit");
        kinit.envs(self.shared.realm().environment()).args(["-c", cache, "-l", life, principal]);
        succeed(&mut kinit, &format!("{PASSWORD}\n"));
    }

    /// The same as a step in the requester's session.
    fn kinit_step(&self, principal: &str, cache: &str, life: &str) -> Step {
        self.run(&["kinit", "-c", cache, "-l", life, principal])
    }

    fn run(&self, words: &[&str]) -> Step {
        let config = format!("KRB5_CONFIG={}", self.site.path("krb5.conf").display());
        let words = ["env", &config].into_iter().chain(words.iter().copied());
        Step::Run { words: words.map(str::to_owned).collect(), input: format!("{PASSWORD}\n") }
    }

    /// A cache that the search finds although nothing names it.
    fn found(&self, name: &str) -> String {
        format!("FILE:{}_{name}", self.site.default_cache().display())
    }

    fn default(&self) -> String {
        format!("FILE:{}", self.site.default_cache().display())
    }

    /// The log's line of the outcome, and the line of the choice.
    #[track_caller]
    fn ask(&self, variables: &[(&str, &str)], steps: Vec<Step>, count: usize) -> (String, Option<String>) {
        let (site, nfs) = (&self.site, self.shared.nfs());
        let request = site.request_as(&site.uid().to_string(), nfs, &format!(":{count}"));
        let context = site.ask_in(variables, steps, request).context();
        call_null_with(&context, nfs);
        let established = site.log.wait_for_established(count);
        site.wait_until_idle();
        let key = established.split(" uid ").next().unwrap().rsplit(' ').next().unwrap().to_owned();
        // There are always several caches to choose from.
        let choice = Some(site.log.wait_for_words(&[&key, ": chosen: "]));
        // The key and the log say the same about the unmet wish.
        let told = choice.as_ref().and_then(|line| line.split("; wanted: ").nth(1));
        let unmet = context.initiator.unwrap().unmet;
        match (told, unmet.as_deref().map(|unmet| unmet.strip_prefix("wanted ").unwrap())) {
            (Some(told), Some(unmet)) => assert!(told.starts_with(unmet), "{unmet}: {told}"),
            (told, unmet) => assert_eq!(told, unmet),
        }
        (established, choice)
    }

    #[track_caller]
    fn expect(&self, variables: &[(&str, &str)], principal: &str, cache: &str) -> Option<String> {
        let (established, choice) = self.ask(variables, as_user(self.site.uid()), 1);
        assert!(established.contains(&format!(" as {principal} in {cache}")), "{established}");
        choice
    }
}

fn a_named_cache_serves_although_another_principals_ticket_lives_longer(shared: &Shared) {
    let scene = Scene::new(shared);
    let named = scene.site.cache("named");
    scene.kinit("alice", &named, "1h");
    scene.kinit(&scene.bob, &scene.default(), "10h");
    scene.kinit(&scene.bob, &scene.found("more"), "20h");
    let choice = scene.expect(&[("KRB5CCNAME", &named)], &scene.alice, &named).unwrap();
    assert!(!choice.contains("wanted"), "{choice}");
}

fn what_cannot_be_used_gives_way_to_the_same_principal(shared: &Shared) {
    let scene = Scene::new(shared);
    let (named, found) = (scene.site.cache("named"), scene.found("alices"));
    shared.realm().expired_ticket(scene.site.uid(), &named);
    scene.kinit(&scene.bob, &scene.default(), "10h");
    scene.kinit("alice", &found, "1h");
    let choice = scene.expect(&[("KRB5CCNAME", &named)], &scene.alice, &found).unwrap();
    assert!(!choice.contains("wanted") && choice.contains(&format!("{named}: ticket expired")), "{choice}");
}

fn a_change_of_principal_is_said_with_its_reason(shared: &Shared) {
    for named in [true, false] {
        let scene = Scene::new(shared);
        let wanted = if named { scene.site.cache("named") } else { scene.default() };
        shared.realm().expired_ticket(scene.site.uid(), &wanted);
        scene.kinit(&scene.bob, &scene.found("bobs"), "10h");
        let variables: &[_] = if named { &[("KRB5CCNAME", wanted.as_str())] } else { &[] };
        let choice = scene.expect(variables, &scene.bob, &scene.found("bobs")).unwrap();
        let by = if named { "which KRB5CCNAME names" } else { "the default one" };
        let told = format!("; wanted: {} in {wanted}, {by}: ticket expired ", scene.alice);
        assert!(choice.contains(&told), "{told}: {choice}");
    }
}

/// This happens after the realm's key has changed.
fn a_wish_that_a_kdc_refuses_is_said(shared: &Shared) {
    let scene = Scene::new(shared);
    let named = scene.site.cache("named");
    scene.kinit("alice", &named, "5h");
    let path = scene.site.path("user").join("named");
    let mut file = CacheFile::read(&path);
    file.credentials.retain(|ticket| ticket.server.starts_with("krbtgt/"));
    file.credentials.iter_mut().for_each(Credential::spoil);
    file.write(&path, scene.site.uid());
    scene.kinit(&scene.bob, &scene.default(), "1h");
    let choice = scene.expect(&[("KRB5CCNAME", &named)], &scene.bob, &scene.default()).unwrap();
    let told = format!("; wanted: {} in {named}, which KRB5CCNAME names: ticket of ", scene.alice);
    assert!(choice.contains(&told), "{told}: {choice}");
}

fn a_named_cache_that_is_not_there_is_said(shared: &Shared) {
    let scene = Scene::new(shared);
    let named = scene.site.cache("named");
    scene.kinit("alice", &scene.default(), "1h");
    let choice = scene.expect(&[("KRB5CCNAME", &named)], &scene.alice, &scene.default()).unwrap();
    let told = format!("; wanted: {named}, which KRB5CCNAME names: there is no such cache");
    assert!(choice.contains(&told), "{told}: {choice}");
}

/// As a directory, in a keyring, at a daemon: the collection's name and two caches in it.
fn collections(site: &Site) -> [(String, [String; 2]); 3] {
    let directory = site.path("user").join("collection");
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(site.uid()), Some(site.uid())).unwrap();
    let directory = directory.display();
    let uid = site.uid();
    [
        (format!("DIR:{directory}"), ["tkta", "tktb"].map(|name| format!("DIR::{directory}/{name}"))),
        ("KEYRING:session:s".to_owned(), ["a", "b"].map(|name| format!("KEYRING:session:s:{name}"))),
        ("KCM:".to_owned(), ["a", "b"].map(|name| format!("KCM:{uid}:{name}"))),
    ]
}

fn of_a_collection_the_primary_cache_serves_and_kswitch_changes_that(shared: &Shared) {
    // Once as the default collection, once as the one that the request names.
    for (number, named) in (0..3).flat_map(|number| [(number, false), (number, true)]) {
        let scene = Scene::new(shared);
        let _kcm = Kcm::start(&scene.site);
        let (collection, [alices, bobs]) = collections(&scene.site)[number].clone();
        if !named {
            scene.site.libdefaults(&format!("default_ccache_name = {collection}"));
        }
        let variable = format!("KRB5CCNAME={collection}");
        for (count, primary) in [(1, &alices), (2, &bobs)] {
            let mut steps = as_user(scene.site.uid());
            steps.push(scene.kinit_step("alice", &alices, "1h"));
            steps.push(scene.kinit_step(&scene.bob, &bobs, "2h"));
            steps.push(scene.run(&["env", &variable, "kswitch", "-c", primary]));
            let variables: &[_] = if named { &[("KRB5CCNAME", collection.as_str())] } else { &[] };
            let (established, _) = scene.ask(variables, steps, count);
            assert!(established.contains(&format!(" in {primary}")), "{named} {primary}: {established}");
        }
    }
}

/// A home directory of the site's user, with this .k5identity.
fn home(site: &Site, rules: &str) -> PathBuf {
    let home = site.path("user").join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join(".k5identity"), rules).unwrap();
    for path in [home.clone(), home.join(".k5identity")] {
        chown(path, Some(site.uid()), Some(site.uid())).unwrap();
    }
    home
}

fn an_identity_for_the_service_serves_before_the_default_cache(shared: &Shared) {
    let scene = Scene::new(shared);
    scene.kinit("alice", &scene.default(), "10h");
    scene.kinit(&scene.bob, &scene.found("bobs"), "1h");
    let host = shared.nfs().service.split('@').nth(1).unwrap();
    let domain = host.split_once('.').unwrap().1;
    let rules = format!(
        "# mine\nalice@NOWHERE realm=NOWHERE\nalice service=host\n{} service=n?s host=*.{domain}\nalice\n",
        scene.bob
    );
    let home = home(&scene.site, &rules);
    let home = home.to_str().unwrap();
    let choice = scene.expect(&[("HOME", home)], &scene.bob, &scene.found("bobs")).unwrap();
    assert!(!choice.contains("wanted"), "{choice}");
    // KRB5CCNAME takes precedence.
    let (established, _) =
        scene.ask(&[("HOME", home), ("KRB5CCNAME", &scene.default())], as_user(scene.site.uid()), 2);
    assert!(established.contains(&format!(" as {} in ", scene.alice)), "{established}");
}

fn an_identity_without_a_cache_is_said(shared: &Shared) {
    let scene = Scene::new(shared);
    scene.kinit("alice", &scene.default(), "1h");
    let home = home(&scene.site, &format!("{}\n", scene.bob));
    let choice = scene.expect(&[("HOME", home.to_str().unwrap())], &scene.alice, &scene.default()).unwrap();
    let file = home.join(".k5identity");
    let told = format!("; wanted: {}, by {}: there is no cache of it", scene.bob, file.display());
    assert!(choice.contains(&told), "{told}: {choice}");
}

fn an_identity_file_that_cannot_be_trusted_or_read_is_passed_over(shared: &Shared) {
    let scene = Scene::new(shared);
    scene.kinit("alice", &scene.default(), "1h");
    scene.kinit(&scene.bob, &scene.found("bobs"), "1h");
    let home = home(&scene.site, &format!("{}\n", scene.bob));
    let file = home.join(".k5identity");
    let remove = || fs::remove_file(&file).unwrap();
    let make: [(&str, &dyn Fn()); 5] = [
        ("is writable by others", &|| {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        }),
        ("belongs to somebody else", &|| {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
            chown(&file, Some(scene.site.machine_uid()), None).unwrap();
        }),
        ("is not a regular file", &|| {
            remove();
            nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
            chown(&file, Some(scene.site.uid()), None).unwrap();
        }),
        ("is too large", &|| {
            remove();
            fs::write(&file, vec![b'\n'; 100_000]).unwrap();
            chown(&file, Some(scene.site.uid()), None).unwrap();
        }),
        ("line 1 is no principal with field=value", &|| {
            fs::write(&file, format!("{} port=2049\n", scene.bob)).unwrap();
        }),
    ];
    for (count, (reason, make)) in (1..).zip(make) {
        make();
        let (established, choice) =
            scene.ask(&[("HOME", home.to_str().unwrap())], as_user(scene.site.uid()), count);
        assert!(established.contains(&format!(" as {} in ", scene.alice)), "{reason}: {established}");
        let choice = choice.unwrap();
        assert!(
            choice.contains(&file.display().to_string()) && choice.contains(reason),
            "{reason}: {choice}"
        );
    }
}

fn a_home_directory_that_does_not_answer_holds_nobody_up(shared: &Shared) {
    let scene = Scene::new(shared);
    scene.kinit("alice", &scene.default(), "1h");
    scene.kinit(&scene.bob, &scene.found("bobs"), "2h");
    let fuse = Fuse::mount(&scene.site.mount_point(), scene.site.uid(), Vec::new(), Silence::Lookups);
    let home = fuse.cache().trim_start_matches("FILE:").rsplit_once('/').unwrap().0.to_owned();
    let choice = scene.expect(&[("HOME", &home)], &scene.alice, &scene.default()).unwrap();
    assert!(choice.contains(".k5identity is on a FUSE file system"), "{choice}");
    assert!(!choice.contains("does not answer"), "{choice}");
}

fn the_longest_life_serves_if_the_settings_say_so(shared: &Shared) {
    let scene = Scene::new(shared);
    scene.site.add_settings("[caches]\nchoice = \"longest\"\n");
    let named = scene.site.cache("named");
    scene.kinit("alice", &named, "1h");
    scene.kinit("alice", &scene.default(), "2h");
    scene.kinit(&scene.bob, &scene.found("bobs"), "10h");
    let home = home(&scene.site, &format!("{}\n", scene.alice));
    let variables = [("KRB5CCNAME", named.as_str()), ("HOME", home.to_str().unwrap())];
    let choice = scene.expect(&variables, &scene.bob, &scene.found("bobs")).unwrap();
    assert!(!choice.contains("wanted"), "{choice}");
}

fn the_command_shows_the_same_wish_in_the_same_words(shared: &Shared) {
    let scene = Scene::new(shared);
    let named = scene.site.cache("named");
    shared.realm().expired_ticket(scene.site.uid(), &named);
    scene.kinit(&scene.bob, &scene.default(), "1h");
    let home = home(&scene.site, &format!("{}\n", scene.bob));
    let variables = [("KRB5CCNAME", named.as_str()), ("HOME", home.to_str().unwrap())];
    let choice = scene.expect(&variables, &scene.bob, &scene.default()).unwrap();
    let run = |words: &[&str]| {
        let mut command = command_as(scene.site.uid(), lgss(&scene.site));
        command.args(["caches", "--config"]).arg(scene.site.path("lgss.toml")).args(words);
        command.envs(variables).output().unwrap()
    };
    let output = run(&["--json", "--target", &shared.nfs().service]);
    let answer = &json(&output)[0];
    assert_eq!(answer["would_use"], scene.default().as_str(), "{answer:#}");
    assert_eq!(answer["caches"][0]["because"], "identity", "{answer:#}");
    let wanted = answer["wanted"].as_str().unwrap();
    // The times after "expired" may differ.
    let (same, _) = wanted.split_once("expired").unwrap();
    assert!(choice.contains(&format!("; wanted: {same}expired")), "{wanted}: {choice}");
    assert!(lines(&run(&[])).contains(&format!("  wanted: {same}")), "{:?}", run(&[]));
}
