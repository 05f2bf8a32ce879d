//! The KRB5CCNAME that a program states in its request (`prefer=`), where /proc shows only the variable at its start,
//! or nothing.

use crate::plan::Step;
use crate::support::outcome::Outcome;
use crate::support::probe::as_user;
use crate::support::process::{command_as, succeed};
use crate::support::realm::PASSWORD;
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::{Site, install};
use lgss::private_to_lgss::event::Cause;
use std::process::Command;

crate::trials![
    what_a_program_prefers_comes_before_what_it_was_started_with,
    a_preference_that_cannot_be_used_is_passed_over_with_a_word_in_the_log,
    a_preference_opens_no_cache_of_anothers,
    of_a_server_that_acts_for_a_user_the_preference_does_not_count,
    a_cache_that_is_named_comes_before_a_preference,
    a_preference_counts_what_the_setting_says,
    a_program_that_changes_its_variable_gets_the_cache_that_it_names_now,
    a_program_that_has_ended_has_said_which_cache_it_wants,
];

/// A user with tickets of two principals. Alice's are in a cache that is found only by its name; bob's are in the
/// default cache and in another that nobody finds.
struct Scene<'a> {
    shared: &'a Shared,
    site: Site,
    bob: String,
}

impl<'a> Scene<'a> {
    fn new(shared: &'a Shared) -> Self {
        let site = Site::new(shared.realm());
        let bob = format!("bob{}", site.uid());
        shared.realm().administrate(&[format!("addprinc -pw \"{PASSWORD}\" {bob}")]);
        let scene = Self { shared, site, bob };
        let default = format!("FILE:{}", scene.site.default_cache().display());
        for (principal, cache) in
            [("alice", &scene.alices()), (&scene.bob, &scene.bobs()), (&scene.bob, &default)]
        {
            let mut kinit = command_as(scene.site.uid(), "kinit");
            kinit.envs(shared.realm().environment()).args(["-c", cache, principal]);
            succeed(&mut kinit, &format!("{PASSWORD}\n"));
        }
        scene
    }

    fn alices(&self) -> String {
        self.site.cache("alices")
    }

    fn bobs(&self) -> String {
        self.site.cache("bobs")
    }

    /// Outcome of a request with these fields by a program started with this KRB5CCNAME.
    fn ask_after(&self, started: Option<&str>, steps: Vec<Step>, fields: &str) -> Outcome {
        self.site.ask_naming(started, steps, self.site.request_with(self.shared.nfs(), fields))
    }

    /// The request is served with a ticket of this principal.
    #[track_caller]
    fn expect(&self, started: Option<&str>, fields: &str, principal: &str) {
        let context = self.ask_after(started, as_user(self.site.uid()), fields).context();
        call_null_with(&context, self.shared.nfs());
        let initiator = context.initiator.unwrap();
        assert!(
            initiator.principal.as_str().starts_with(&format!("{principal}@")),
            "{fields}: {initiator:?}"
        );
    }

    /// A program that uses the library, started with this KRB5CCNAME.
    fn program(&self, how: &str, started: &str, now: &str) -> Command {
        let program = self.site.path("probe");
        install(env!("CARGO_BIN_EXE_lgss-probe"), &program, 0o755);
        let description = format!("lgss:{}:{}", self.site.uid(), self.shared.nfs().service);
        let mut command = command_as(self.site.uid(), "/usr/bin/keyctl");
        command.args(["session", "-"]).arg(&program);
        command.args([how, &description, &self.shared.nfs().channel(), now]).env("KRB5CCNAME", started);
        command
    }
}

fn what_a_program_prefers_comes_before_what_it_was_started_with(shared: &Shared) {
    let scene = Scene::new(shared);
    let (alices, bobs, bob) = (scene.alices(), scene.bobs(), scene.bob.clone());
    scene.expect(None, &format!("prefer={alices}"), "alice");
    scene.expect(Some(&bobs), &format!("prefer={alices}"), "alice");
    scene.expect(Some(&alices), &format!("prefer={bobs}"), &bob);
    scene.expect(Some(&alices), "prefer=-", &bob);
    // Without the field the variable counts, as before.
    scene.expect(Some(&alices), "ttl=300", "alice");
}

fn a_preference_that_cannot_be_used_is_passed_over_with_a_word_in_the_log(shared: &Shared) {
    let scene = Scene::new(shared);
    let missing = scene.site.cache("missing");
    for (name, word) in [
        ("MEMORY:x", "type MEMORY cannot be used here"),
        ("FILE:relative", "relative is not an absolute path"),
        ("FILE:/a/../b", "is not an absolute path"),
        ("KEYRING:group:x", "no keyring group for caches"),
        ("KEYRING:session:nothing", "KEYRING:session:nothing: there is no such cache"),
        ("what ever=\"it\", is", "is not an absolute path"),
        (&missing, "there is no such cache"),
    ] {
        // The variable at the program's start does not count, whatever happens to the preference.
        scene.expect(Some(&scene.alices()), &format!("prefer={name}"), &scene.bob.clone());
        scene.site.log.wait_for_words(&["chosen: ", "; wanted: ", "which KRB5CCNAME names", word]);
        scene.site.wait_until_idle();
    }
}

fn a_preference_opens_no_cache_of_anothers(shared: &Shared) {
    let scene = Scene::new(shared);
    let roots = format!("FILE:{}", scene.site.path("roots").display());
    shared.realm().ticket(0, &roots);
    scene.expect(None, &format!("prefer={roots}"), &scene.bob.clone());
    scene.site.log.wait_for_words(&["chosen: ", "; wanted: ", &roots, "belongs to somebody else"]);
}

fn of_a_server_that_acts_for_a_user_the_preference_does_not_count(shared: &Shared) {
    let scene = Scene::new(shared);
    let uid = scene.site.uid();
    let steps = vec![Step::JoinSession, Step::FsIds { uid, gid: uid }];
    let fields = format!("prefer={}", scene.alices());
    let context = scene.ask_after(Some(&scene.alices()), steps, &fields).context();
    assert!(context.initiator.unwrap().principal.as_str().starts_with(&scene.bob));
}

fn a_cache_that_is_named_comes_before_a_preference(shared: &Shared) {
    let scene = Scene::new(shared);
    scene.expect(None, &format!("cache={};prefer={}", scene.alices(), scene.bobs()), "alice");
    let fields = format!("cache={};prefer={}", scene.site.cache("missing"), scene.bobs());
    let outcome = scene.ask_after(None, as_user(scene.site.uid()), &fields);
    assert_eq!(outcome.errno(), Cause::NoTicket.errno());
}

fn a_preference_counts_what_the_setting_says(shared: &Shared) {
    let scene = Scene::new(shared);
    scene.site.add_settings("[caches]\nkrb5ccname = \"ignored\"\n");
    scene.expect(None, &format!("prefer={}", scene.alices()), &scene.bob.clone());
}

fn a_program_that_changes_its_variable_gets_the_cache_that_it_names_now(shared: &Shared) {
    let scene = Scene::new(shared);
    let (alices, bobs) = (scene.alices(), scene.bobs());
    let alice_is = [" as alice@", &alices];
    let bob_is = [&*format!(" as {}@", scene.bob), &bobs];
    succeed(&mut scene.program("use", &bobs, &alices), "");
    scene.site.log.wait_for_words(&[&["established"], &alice_is[..]].concat());
    succeed(&mut scene.program("use", &alices, &bobs), "");
    scene.site.log.wait_for_words(&[&["established"], &bob_is[..]].concat());
    succeed(&mut scene.program("use", &alices, "-"), "");
    let default = scene.site.default_cache().display().to_string();
    scene.site.log.wait_for_words(&["established", bob_is[0], &default]);
}

/// It makes no difference whether the launcher could still look at the program.
fn a_program_that_has_ended_has_said_which_cache_it_wants(shared: &Shared) {
    let scene = Scene::new(shared);
    for count in 1..=3 {
        succeed(&mut scene.program("leave", &scene.alices(), &scene.alices()), "");
        let line = scene.site.log.wait_for_established(count);
        assert!(line.contains(" as alice@"), "{line}");
        scene.site.wait_until_idle();
    }
}
