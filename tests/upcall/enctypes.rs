//! Encryption types: each of the four as the type of an acceptor's subkey, and the setting that restricts them.

use crate::support::ganesha::Ganesha;
use crate::support::process::Until;
use crate::support::realm::{Realm, RealmOptions};
use crate::support::rpc::call_null_with;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::Site;
use lgss::crypto::mic::KeyOrigin;
use lgss::private_to_lgss::event::Cause;

crate::trials![
    contexts_of_all_four_encryption_types_are_accepted_by_the_server,
    the_acceptors_subkey_is_the_base_key_whatever_the_session_key_is,
    by_default_the_preference_is_that_of_krb5_conf,
    a_narrowed_setting_is_what_is_asked_for_and_got,
    a_cached_ticket_of_another_type_is_no_dead_end,
    a_cached_ticket_of_a_type_that_no_context_can_have_is_no_dead_end,
    a_setting_that_the_kdc_cannot_satisfy_is_told_with_what_it_has,
    a_setting_that_krb5_conf_does_not_permit_is_told,
];

const AES128_SHA1: &str = "aes128-cts-hmac-sha1-96";
const AES256_SHA1: &str = "aes256-cts-hmac-sha1-96";
const AES128_SHA256: &str = "aes128-cts-hmac-sha256-128";
const AES256_SHA384: &str = "aes256-cts-hmac-sha384-192";
const ALL: [(u32, &str); 4] =
    [(17, AES128_SHA1), (18, AES256_SHA1), (19, AES128_SHA256), (20, AES256_SHA384)];

fn realm_of(enctype: &str) -> Realm {
    Realm::start_with(RealmOptions { enctype, ..Default::default() })
}

/// The context's base key is an acceptor's subkey of this type, and the server accepts a call made with it.
#[track_caller]
fn expect(site: &Site, target: &Target, number: u32) {
    let context = site.ask(target).context();
    assert_eq!(
        (context.base_key.enctype().number(), context.key_origin),
        (number, KeyOrigin::AcceptorSubkey)
    );
    call_null_with(&context, target);
}

/// Realm, client and server know only one type.
fn contexts_of_all_four_encryption_types_are_accepted_by_the_server(_: &Shared) {
    for (number, enctype) in ALL {
        let realm = realm_of(enctype);
        let ganesha = Ganesha::start(&realm, Until::TestEnds);
        let site = Site::new(&realm);
        site.ticket(&realm);
        expect(&site, ganesha.target(), number);
    }
}

/// The ticket's session key is always of type 18; the server prefers another type.
fn the_acceptors_subkey_is_the_base_key_whatever_the_session_key_is(_: &Shared) {
    for (number, enctype) in ALL.into_iter().filter(|(number, _)| *number != 18) {
        let realm = realm_of(&format!("{enctype} {AES256_SHA1}"));
        let service = realm.service().replace('@', "/");
        // A KDC judges by the service's long-term keys and by this attribute which session keys the service can use.
        realm.administrate(&[
            format!("cpw -randkey -e {AES256_SHA1}:normal {service}"),
            format!("setstr {service} session_enctypes {AES256_SHA1}"),
            format!("ktadd -norandkey -k {} {service}", realm.keytab().display()),
        ]);
        let ganesha = Ganesha::start(&realm, Until::TestEnds);
        let site = Site::new(&realm);
        site.ticket(&realm);
        expect(&site, ganesha.target(), number);
        assert_eq!(session_key(&realm, &site), AES256_SHA1);
    }
}

/// Type of the session key in the cached ticket for the service.
#[track_caller]
fn session_key(realm: &Realm, site: &Site) -> String {
    let listed = realm.listed(site.uid(), &format!("FILE:{}", site.default_cache().display()), &["-e"]);
    let ticket = listed.split_once(&realm.service().replace('@', "/")).expect("a ticket of the service").1;
    ticket.split_once("skey, tkt): ").unwrap().1.split_once(',').unwrap().0.to_owned()
}

/// A realm and a server with two types; both prefer the first.
struct Two {
    realm: Realm,
    ganesha: Ganesha,
}

impl Two {
    fn new() -> Self {
        let realm = realm_of(&format!("{AES256_SHA1} {AES128_SHA256}"));
        let ganesha = Ganesha::start(&realm, Until::TestEnds);
        Self { realm, ganesha }
    }

    fn site(&self) -> Site {
        let site = Site::new(&self.realm);
        site.ticket(&self.realm);
        site
    }
}

fn by_default_the_preference_is_that_of_krb5_conf(_: &Shared) {
    let two = Two::new();
    for preferred in [[AES256_SHA1, AES128_SHA256], [AES128_SHA256, AES256_SHA1]] {
        let site = two.site();
        site.libdefaults(&format!("default_tgs_enctypes = {}", preferred.join(" ")));
        let number = ALL.iter().find(|(_, name)| *name == preferred[0]).unwrap().0;
        expect(&site, two.ganesha.target(), number);
        assert_eq!(session_key(&two.realm, &site), preferred[0]);
    }
}

fn a_narrowed_setting_is_what_is_asked_for_and_got(_: &Shared) {
    let two = Two::new();
    let site = two.site();
    site.allow_enctypes(&[AES128_SHA256]);
    expect(&site, two.ganesha.target(), 19);
    assert_eq!(session_key(&two.realm, &site), AES128_SHA256);
    // The setting only restricts: among the allowed types krb5.conf's preference counts, in whatever order they are
    // here.
    let site = two.site();
    site.allow_enctypes(&[AES128_SHA256, AES256_SHA1]);
    expect(&site, two.ganesha.target(), 18);
}

fn a_cached_ticket_of_another_type_is_no_dead_end(_: &Shared) {
    let two = Two::new();
    let site = two.site();
    expect(&site, two.ganesha.target(), 18);
    site.allow_enctypes(&[AES128_SHA256]);
    expect(&site, two.ganesha.target(), 19);
}

/// This holds for the default setting too: krb5.conf may allow types that no context can have.
fn a_cached_ticket_of_a_type_that_no_context_can_have_is_no_dead_end(_: &Shared) {
    let camellia = "camellia256-cts-cmac";
    let realm = realm_of(&format!("{AES256_SHA1} {camellia}"));
    let ganesha = Ganesha::start(&realm, Until::TestEnds);
    let site = Site::new(&realm);
    site.libdefaults(&format!("permitted_enctypes = {camellia} {AES256_SHA1}"));
    site.libdefaults(&format!("default_tgs_enctypes = {camellia} {AES256_SHA1}"));
    site.ticket(&realm);
    expect(&site, ganesha.target(), 18);
}

fn a_setting_that_the_kdc_cannot_satisfy_is_told_with_what_it_has(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    site.libdefaults(&format!("permitted_enctypes = {AES256_SHA1} {AES128_SHA256}"));
    site.allow_enctypes(&[AES128_SHA256]);
    let target = Target::nfs(&shared.realm().service(), 1);
    for _ in 0..2 {
        let outcome = site.ask(&target);
        site.assert_failed(&outcome, Cause::EncryptionType, &target);
    }
    let offered = format!("its session key is {AES256_SHA1}");
    site.log.wait_for_words(&[&offered, &format!("allowed by lgss.toml: {AES128_SHA256}"), "EACCES"]);
}

fn a_setting_that_krb5_conf_does_not_permit_is_told(shared: &Shared) {
    let site = Site::new(shared.realm());
    site.ticket(shared.realm());
    site.allow_enctypes(&[AES256_SHA384]);
    let target = Target::nfs(&shared.realm().service(), 1);
    let outcome = site.ask(&target);
    site.assert_failed(&outcome, Cause::EncryptionType, &target);
    site.log.wait_for_words(&["permitted_enctypes of krb5.conf", AES256_SHA384]);
}
