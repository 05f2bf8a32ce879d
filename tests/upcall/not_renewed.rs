//! Where nothing is due for renewal, or the KDC does not renew: the old ticket serves.

use crate::renewal::{AGE, RENEWABLE, RENEWING, Scene};
use crate::support::shared::Shared;
use crate::support::site::Settings;
use crate::support::wait::assert_lasted;
use std::time::{Duration, Instant};

crate::trials![
    with_more_than_half_of_its_life_left_a_ticket_is_left_alone,
    without_the_setting_a_ticket_is_left_alone,
    a_ticket_that_is_not_renewable_is_left_alone,
    a_ticket_that_cannot_be_made_to_end_later_is_left_alone,
    a_kdc_that_refuses_to_renew_leaves_the_old_ticket_and_the_log_says_why,
    a_kdc_that_is_down_leaves_the_old_ticket_and_the_log_says_why,
    a_silent_kdc_is_not_waited_for_where_the_old_ticket_serves,
    a_silent_kdc_is_not_waited_for_where_the_services_old_ticket_serves,
];

/// `timeouts.kdc` of a patient upcall.
const KDC_LIMIT: Duration = Duration::from_secs(90);

impl Scene {
    /// The ticket serves as it is, and the log says nothing about it.
    #[track_caller]
    fn expect_left_alone(&self, expected: f64) {
        self.get_service_ticket();
        let before = std::fs::read(self.site.default_cache()).unwrap();
        let hours = self.hours();
        assert!((expected - 0.1..=expected).contains(&hours), "{hours} h");
        assert_eq!(std::fs::read(self.site.default_cache()).unwrap(), before);
        let line = self.site.log.wait_for_words(&["established"]);
        assert!(!line.contains("renewed"), "{line}");
    }

    /// One whose upcall would wait for a KDC longer than any requester of the tests waits.
    fn with_a_patient_upcall() -> Self {
        let settings = Settings { kdc: "90s", deadline: "120s", extra: RENEWING, ..Settings::default() };
        Self::with(AGE, RENEWABLE, &settings)
    }

    #[track_caller]
    fn expect_old_ticket_without_kdc(&self) {
        self.realm.silence();
        let start = Instant::now();
        let hours = self.hours();
        // Without the limit of five seconds it would take all of `timeouts.kdc`.
        assert_lasted(start.elapsed(), 5, KDC_LIMIT);
        assert!((3.9..=4.0).contains(&hours), "{hours} h");
        self.site.wait_until_idle();
    }
}

fn with_more_than_half_of_its_life_left_a_ticket_is_left_alone(_: &Shared) {
    Scene::of("4h", &["-l", "6h", "-r", "7d"], RENEWING).expect_left_alone(6.0);
}

fn without_the_setting_a_ticket_is_left_alone(_: &Shared) {
    Scene::of(AGE, RENEWABLE, Settings::default().extra).expect_left_alone(4.0);
}

fn a_ticket_that_is_not_renewable_is_left_alone(_: &Shared) {
    Scene::of(AGE, &["-l", "4h"], RENEWING).expect_left_alone(4.0);
}

fn a_ticket_that_cannot_be_made_to_end_later_is_left_alone(_: &Shared) {
    Scene::of(AGE, &["-l", "4h", "-r", "4h"], RENEWING).expect_left_alone(4.0);
}

fn a_kdc_that_refuses_to_renew_leaves_the_old_ticket_and_the_log_says_why(_: &Shared) {
    let scene = Scene::new();
    scene.realm.administrate(&[format!("modprinc -allow_renewable krbtgt/{}", scene.realm.name())]);
    let hours = scene.hours();
    assert!((3.9..=4.0).contains(&hours), "{hours} h");
    scene.site.log.wait_for_words(&["established", "(not renewed: "]);
    let listed = scene.listed();
    assert_eq!(listed.matches(" krbtgt/").count(), 1, "{listed}");
}

fn a_kdc_that_is_down_leaves_the_old_ticket_and_the_log_says_why(_: &Shared) {
    let mut scene = Scene::new();
    scene.get_service_ticket();
    scene.realm.stop();
    let before = std::fs::read(scene.site.default_cache()).unwrap();
    let hours = scene.hours();
    assert!((3.9..=4.0).contains(&hours), "{hours} h");
    scene.site.log.wait_for_words(&["established", "(not renewed: "]);
    assert_eq!(std::fs::read(scene.site.default_cache()).unwrap(), before);
}

fn a_silent_kdc_is_not_waited_for_where_the_old_ticket_serves(_: &Shared) {
    let scene = Scene::with_a_patient_upcall();
    scene.get_service_ticket();
    scene.expect_old_ticket_without_kdc();
    scene.site.log.wait_for_words(&["established", "(not renewed: the KDC does not answer"]);
}

/// The ticket-granting ticket has been renewed before.
fn a_silent_kdc_is_not_waited_for_where_the_services_old_ticket_serves(_: &Shared) {
    let scene = Scene::with_a_patient_upcall();
    scene.get_service_ticket();
    scene.ask_for_another_service();
    scene.expect_old_ticket_without_kdc();
}
