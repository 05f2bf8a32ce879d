//! Plugins of MIT Kerberos in the worker's sandbox: KDCs behind HTTPS, PKINIT, SSSD's locator of KDCs.

use crate::support::acceptor::Acceptor;
use crate::support::authority::{Authority, PkinitPurpose, stands_for};
use crate::support::kdc_proxy::KdcProxy;
use crate::support::login::{Login, SESSION_CACHE};
use crate::support::machine::PLUGINS;
use crate::support::node::{Ask, Node};
use crate::support::process::{command, succeed};
use crate::support::realm::Realm;
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use lgss::private_to_lgss::event::Cause;
use std::fs;
use std::path::{Path, PathBuf};

crate::trials![
    a_kdc_behind_https_serves_in_the_sandbox,
    a_certificate_gets_the_machines_ticket_in_the_sandbox,
    a_certificate_gets_a_users_tickets_by_lgss_kinit,
    an_anonymous_ticket_armours_a_request_and_an_input_cache_says_by_what_to_ask,
    a_kdc_that_sssd_has_found_serves_in_the_sandbox,
];

/// Both settings of the sandbox with their trials.
const SANDBOXES: [(&str, &str); 2] = [("strict", "both"), ("plugins", "plugins")];

/// A copy of the plugins outside the directories that every worker may read.
#[track_caller]
fn plugins_in(directory: PathBuf) -> PathBuf {
    let unpacked = format!("cp -r {PLUGINS}/usr/lib/*/krb5/plugins \"$1\"");
    succeed(command("sh").args(["-ec", &unpacked, "sh"]).arg(&directory), "");
    directory
}

fn a_kdc_behind_https_serves_in_the_sandbox(shared: &Shared) {
    let realm = shared.realm();
    for (sandbox, _) in SANDBOXES {
        let site = Site::with(realm, &Settings { sandbox, ..Default::default() });
        site.ticket(realm);
        let authority = Authority::new(site.path("pki"));
        let proxy = KdcProxy::start(&site, realm, &authority);
        site.libdefaults(&format!("plugin_base_dir = {}", plugins_in(site.path("plugins")).display()));
        let direct = format!("kdc = 127.0.0.1:{}\n", realm.kdc_port());
        let behind = format!("kdc = {}\n  http_anchors = FILE:", proxy.url());
        let text = fs::read_to_string(site.path("krb5.conf")).unwrap();
        assert!(text.contains(&direct), "{text}");
        let by_https = |anchor: &Path| text.replace(&direct, &format!("{behind}{}\n", anchor.display()));
        // Of another authority, which shows that the library does ask by HTTPS.
        let stranger = Authority::new(site.path("stranger"));
        fs::write(site.path("krb5.conf"), by_https(&stranger.certificate())).unwrap();
        let refused = site.ask_with(site.request_as(&site.uid().to_string(), shared.nfs(), ":stranger"));
        // On a busy machine it takes its time.
        let unreachable = [Cause::KdcDown, Cause::KdcSilent].map(Cause::errno);
        assert!(unreachable.contains(&refused.errno()), "{sandbox}: {:#?}", site.log.lines());
        site.log.wait_for_words(&["has a certificate that is not accepted"]);
        fs::write(site.path("krb5.conf"), by_https(&authority.certificate())).unwrap();
        call_null_with(&site.ask(shared.nfs()).context(), shared.nfs());
    }
}

/// A realm whose KDC takes certificates, and their authority.
struct WithCertificates {
    realm: Realm,
    authority: Authority,
}

impl WithCertificates {
    #[track_caller]
    fn start() -> Self {
        let mut realm = Realm::start();
        let authority = Authority::new(realm.path("pki"));
        let name = realm.name();
        let (certificate, key) =
            authority.issue("kdc", &stands_for(&["krbtgt", &name], &name, PkinitPurpose::Kdc));
        let plugins = plugins_in(realm.path("plugins"));
        realm.restart_with(
            &format!(
                "[kdcdefaults]\n pkinit_identity = FILE:{},{}\n pkinit_anchors = FILE:{}\n",
                certificate.display(),
                key.display(),
                authority.certificate().display()
            ),
            &format!(
                "[plugins]\n kdcpreauth = {{\n  module = pkinit:{}/preauth/pkinit.so\n }}\n",
                plugins.display()
            ),
        );
        Self { realm, authority }
    }

    /// A keytab of the machine's principal, which the KDC gives a ticket only after it has proved who it is.
    #[track_caller]
    fn keytab(&self, node: &Node<'_>) -> PathBuf {
        let keytab = node.keytab_of("host/@H");
        self.realm.administrate(&[format!("modprinc +requires_preauth {}", node.named("host/@H"))]);
        keytab
    }

    /// Gives the machine a certificate, and a configuration that names it, its key, and these anchors.
    #[track_caller]
    fn configure(&self, node: &Node<'_>, anchors: &Path) {
        let host = node.host();
        let extensions = stands_for(&["host", &host], &self.realm.name(), PkinitPurpose::Client);
        let (certificate, key) = self.authority.issue(&host, &extensions);
        let told = format!(
            "[libdefaults]\n plugin_base_dir = {}\n pkinit_identities = FILE:{},{}\n pkinit_anchors = FILE:{}\n",
            self.realm.path("plugins").display(),
            certificate.display(),
            key.display(),
            anchors.display()
        );
        node.configure(&self.realm.krb5_conf().replacen("[libdefaults]\n", &told, 1));
    }
}

/// What gets the ticket is seen by a keytab whose key is an old one.
fn a_certificate_gets_the_machines_ticket_in_the_sandbox(_: &Shared) {
    let with = WithCertificates::start();
    for (_, trial) in SANDBOXES {
        let node = Node::new(&with.realm);
        let outdated = with.keytab(&node);
        let current = node.another_key("host/@H");
        let ask = |keytab: &PathBuf| {
            node.ask(&Ask { roles: "r", keytab: Some(keytab), sandbox: Some(trial), ..Ask::default() })
        };
        ask(&outdated).failure("kdc", "keytab_refused");
        with.configure(&node, &with.authority.certificate());
        assert_eq!(ask(&outdated).text("basis"), "Keytab", "{trial}");
        // Anchors that only root may read, as on members of some domains, leave the keytab.
        let roots = node.path("anchors.pem");
        succeed(command("install").arg("-m0600").arg(with.authority.certificate()).arg(&roots), "");
        with.configure(&node, &roots);
        ask(&outdated).failure("kdc", "keytab_refused");
        assert_eq!(ask(&current).text("basis"), "Keytab", "{trial}");
    }
}

fn a_certificate_gets_a_users_tickets_by_lgss_kinit(_: &Shared) {
    let with = WithCertificates::start();
    // Without it the KDC sends a ticket at once, and does not say what it would take for a proof.
    with.realm.administrate(&["modprinc +requires_preauth alice"]);
    let login = Login::new(&with.realm);
    let extensions = stands_for(&["alice"], &with.realm.name(), PkinitPurpose::Client);
    let (certificate, key) = with.authority.issue("alice", &extensions);
    let anchors = with.authority.certificate();
    login.site.libdefaults(&format!("plugin_base_dir = {}", with.realm.path("plugins").display()));
    let said = login.done(&format!(
        "lgss_kinit -X X509_user_identity=FILE:{},{} -X X509_anchors=FILE:{} alice; klist -c {SESSION_CACHE}
        klist -C -c {SESSION_CACHE} | grep pa_type",
        certificate.display(),
        key.display(),
        anchors.display()
    ));
    assert!(said.contains("Default principal: alice@") && said.contains("= 16\n"), "{said}");
    let said = login.refused("lgss_kinit -X X509_user_identity=FILE:/nowhere alice </dev/null");
    assert!(
        said.contains("while getting initial credentials") && !said.contains("Password incorrect"),
        "{said}"
    );
}

fn an_anonymous_ticket_armours_a_request_and_an_input_cache_says_by_what_to_ask(_: &Shared) {
    let with = WithCertificates::start();
    with.realm.administrate(&["modprinc +requires_preauth alice", "addprinc -randkey WELLKNOWN/ANONYMOUS"]);
    let login = Login::new(&with.realm);
    let extensions = stands_for(&["alice"], &with.realm.name(), PkinitPurpose::Client);
    let (certificate, key) = with.authority.issue("alice", &extensions);
    let anchors = format!("-X X509_anchors=FILE:{}", with.authority.certificate().display());
    let identity = format!("-X X509_user_identity=FILE:{},{}", certificate.display(), key.display());
    login.site.libdefaults(&format!("plugin_base_dir = {}", with.realm.path("plugins").display()));
    let said = login.done(&format!(
        "lgss_kinit -c KEYRING:session:anonymous -n {anchors} </dev/null; klist -c KEYRING:session:anonymous
        KRB5_TRACE=$PWD/plain typed alice; fails grep -q 'armor ccache' plain
        KRB5_TRACE=$PWD/armoured typed -T KEYRING:session:anonymous alice; grep -m 1 'armor ccache' armoured
        lgss_kinit -c KEYRING:session:certified {identity} {anchors} alice </dev/null
        fails typed -I KEYRING:session:certified alice; typed alice; echo by password"
    ));
    assert!(said.contains("Default principal: WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS"), "{said}");
    assert!(said.contains("armor ccache") && said.contains("by password\n"), "{said}");
}

/// By its plugin, which Debian installs with sssd-common.
fn a_kdc_that_sssd_has_found_serves_in_the_sandbox(_: &Shared) {
    let realm = Realm::start();
    let acceptor = Acceptor::start(&realm);
    for (sandbox, _) in SANDBOXES {
        let site = Site::with(&realm, &Settings { sandbox, ..Default::default() });
        site.ticket(&realm);
        let text = fs::read_to_string(site.path("krb5.conf")).unwrap();
        let unnamed = text.replace(&format!("kdc = 127.0.0.1:{}\n", realm.kdc_port()), "");
        assert_ne!(unnamed, text);
        fs::write(site.path("krb5.conf"), unnamed).unwrap();
        let unknown = site.ask_with(site.request_as(&site.uid().to_string(), acceptor.target(), ":unknown"));
        assert_eq!(unknown.errno(), Cause::UnknownRealm.errno(), "{sandbox}: {:#?}", site.log.lines());
        let found = realm.found_by_sssd();
        fs::write(&found, format!("127.0.0.1:{}\n", realm.kdc_port())).unwrap();
        site.ask(acceptor.target()).context();
        fs::remove_file(&found).unwrap();
    }
}
