//! `lgss_kinit`: tickets in keyrings, for MIT's tools and for the upcall, and for nobody else.

use crate::support::login::{Login, SESSION_CACHE};
use crate::support::outcome::Outcome;
use crate::support::persistent::PersistentRing;
use crate::support::ports::free_port;
use crate::support::probe::{Probe, Step, as_user};
use crate::support::process::{Daemon, command};
use crate::support::realm::{PASSWORD, Realm};
use crate::support::rpc::call_null_with;
use crate::support::shared::Shared;
use crate::support::wait::wait_for;
use crate::support::writers::run;
use std::fs;
use std::net::TcpStream;
use std::time::Duration;

crate::trials![
    tickets_that_only_a_session_keyring_has_serve_klist_kvno_and_the_upcall,
    every_keyring_serves_by_its_word,
    keys_belong_to_their_possessor_and_end_with_their_tickets,
    clients_of_one_collection_keep_their_caches,
    a_named_cache_is_replaced_whoever_had_it,
    the_variable_and_the_configuration_name_the_keyring,
    a_keytab_serves_by_name_and_by_default,
    tickets_are_copied_renewed_validated_and_as_the_options_want_them,
    a_failure_leaves_the_old_tickets_and_says_what_to_do,
    a_full_quota_leaves_the_old_tickets_and_is_told_with_figures,
    a_quota_that_will_not_do_is_told_before_the_password_is_asked_for,
    tickets_that_fit_in_place_of_the_old_ones_only_are_stored,
    a_ticket_that_is_a_single_key_serves_the_upcall,
    an_expired_password_is_changed,
    a_ticket_has_a_pac_or_none_as_the_option_says,
];

/// Prints how many bytes of the user's quota are left.
const LEFT: &str =
    "awk -v uid=$(id -u): '$1 == uid { split($5, bytes, \"/\"); print bytes[2] - bytes[1] }' /proc/key-users";

/// Adds a principal of the test's own, with the realm's password and a keytab that its user may read.
pub(crate) fn another_client(login: &Login, realm: &Realm) -> (String, String) {
    let (name, keytab) = (format!("kinit{}", login.site.uid()), login.site.path("other.keytab"));
    realm.administrate(&[
        format!("addprinc -pw \"{PASSWORD}\" {name}"),
        format!("ktadd -k {} -norandkey {name}", keytab.display()),
    ]);
    std::os::unix::fs::chown(&keytab, Some(login.site.uid()), None).unwrap();
    (name, keytab.display().to_string())
}

fn tickets_that_only_a_session_keyring_has_serve_klist_kvno_and_the_upcall(shared: &Shared) {
    let login = Login::new(shared.realm());
    let site = &login.site;
    let kinit = site.path("lgss_kinit").display().to_string();
    let service = shared.realm().service().replace('@', "/");
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let mut steps = as_user(site.uid());
    steps.push(run(site, words(&[&kinit, "alice"])));
    // Found without a name in the request, as any cache in the requester's session is.
    steps.extend([Step::Request(site.request(shared.nfs())), Step::Settle { within_ms: 30_000 }]);
    let listed = "klist -c \"$1\" | grep -q \"$2\" && kvno -q -c \"$1\" \"$2\"";
    steps.push(run(site, words(&["sh", "-ec", listed, "sh", SESSION_CACHE, &service])));
    let mut requester = Probe::start(&steps);
    let findings = requester.rest();
    assert_eq!(findings.len(), steps.len(), "{findings:?}");
    call_null_with(&Outcome::of(&findings[3..]).context(), shared.nfs());
    assert!(!site.default_cache().exists(), "a file of tickets");
}

fn every_keyring_serves_by_its_word(shared: &Shared) {
    let login = Login::new(shared.realm());
    let uid = login.site.uid();
    let _removed = PersistentRing(uid);
    let own = format!("persistent:{uid}");
    for (word, cache) in [
        ("session", SESSION_CACHE.to_owned()),
        ("user", "KEYRING:user:krb5".to_owned()),
        ("persistent", format!("KEYRING:persistent:{uid}")),
        (&own, format!("KEYRING:persistent:{uid}")),
    ] {
        let said =
            login.done(&format!("typed --keyring {word} alice; klist -c {cache}; kdestroy -A -c {cache}"));
        assert!(said.contains("Default principal: alice@"), "{word}: {said}");
        assert!(said.contains(&format!("export KRB5CCNAME={cache}\n")), "{word}: {said}");
    }
    for word in ["process", "thread"] {
        let said = login.done(&format!("typed --keyring {word} alice"));
        assert!(said.contains("end with lgss_kinit") && !said.contains("KRB5CCNAME"), "{word}: {said}");
    }
    let said = login.refused("typed --keyring persistent:0 alice");
    assert!(said.contains("while opening KEYRING:persistent:0"), "{said}");
}

/// One line of /proc/keys.
#[derive(Debug)]
struct Line {
    timeout: String,
    permissions: String,
    description: String,
}

fn keys_belong_to_their_possessor_and_end_with_their_tickets(shared: &Shared) {
    let login = Login::new(shared.realm());
    let realm = shared.realm().name();
    let granting = format!("krbtgt/{realm}@{realm}");
    let said = login.done(&format!(
        "typed -l 1h alice 2>/dev/null; kvno -q -c {SESSION_CACHE} {granting}; cat /proc/keys"
    ));
    let own: Vec<Line> = said.lines().filter_map(|line| line_of(line, login.site.uid())).collect();
    let named = |name: &str| {
        let found = own.iter().find(|line| line.description.starts_with(name));
        found.unwrap_or_else(|| panic!("no {name}: {own:#?}"))
    };
    for name in ["_krb_krb5:", "krb5:", "__krb5_princ__:", "krb_ccache:primary:", &format!("{granting}:")] {
        assert_eq!(named(name).permissions, "3f010000", "{name}");
    }
    for name in ["krb5:", &format!("{granting}:")] {
        assert!(
            named(name).timeout.ends_with('m') || named(name).timeout == "1h",
            "{name} {:?}",
            named(name)
        );
    }
}

/// `ID FLAGS USAGE TIMEOUT PERMISSIONS UID GID TYPE DESCRIPTION…` (keyrings(7)), of this uid.
fn line_of(line: &str, uid: u32) -> Option<Line> {
    let mut fields = line.split_whitespace();
    let [timeout, permissions, owner] = [fields.nth(3)?, fields.next()?, fields.next()?];
    let description = fields.skip(2).collect::<Vec<_>>().join(" ");
    let line = Line { timeout: timeout.to_owned(), permissions: permissions.to_owned(), description };
    (owner == uid.to_string()).then_some(line)
}

fn clients_of_one_collection_keep_their_caches(shared: &Shared) {
    let login = Login::new(shared.realm());
    let (other, _) = another_client(&login, shared.realm());
    let said = login.done(&format!(
        "typed alice; typed -r 1d {other}; echo mark; klist -l -c {SESSION_CACHE}; typed alice; echo mark; klist -l -c {SESSION_CACHE}
        export KRB5CCNAME={SESSION_CACHE}; echo mark; typed; klist -l
        fails lgss_kinit -R; lgss_kinit -R {other}; echo mark; klist -l; fails lgss_kinit -R nobody"
    ));
    let [_, second, third, fourth, last] = said.split("mark\n").collect::<Vec<_>>().try_into().unwrap();
    let clients = |list: &str| {
        let names = list.lines().filter_map(|line| line.split_once('@').map(|(name, _)| name.to_owned()));
        names.filter(|name| !name.contains(' ')).collect::<Vec<_>>()
    };
    // The primary one comes first.
    assert_eq!(clients(second), [other.as_str(), "alice"], "{said}");
    assert_eq!(clients(third), ["alice", &other], "{said}");
    // Without a name it is the primary cache's client.
    assert_eq!(clients(fourth), ["alice", &other], "{said}");
    assert!(fourth.contains("Password for alice@"), "{said}");
    // Renewed by its name, it is still not the one that other programs use.
    assert_eq!(clients(last), ["alice", &other], "{said}");
    assert!(said.contains("no tickets of nobody@"), "{said}");
    // Once the variable names it, nobody needs to be told.
    assert_eq!(said.matches("export").count(), 3, "{said}");
}

fn a_named_cache_is_replaced_whoever_had_it(shared: &Shared) {
    let login = Login::new(shared.realm());
    let (other, _) = another_client(&login, shared.realm());
    let cache = "KEYRING:session:mine:only";
    let said = login.done(&format!(
        "typed -c {cache} alice; typed -V -c {cache} {other}; klist -l -c KEYRING:session:mine; klist -c {cache}"
    ));
    assert!(said.contains(&format!("Using cache: {cache}\nUsing principal: {other}@")), "{said}");
    assert!(said.contains(&format!("Default principal: {other}@")) && !said.contains("\nalice@"), "{said}");
}

fn the_variable_and_the_configuration_name_the_keyring(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said = login.done("export KRB5CCNAME=KEYRING:session:named; typed alice; klist");
    assert!(said.contains("Ticket cache: KEYRING:session:named:") && !said.contains("export"), "{said}");
    // Files are kinit's.
    let said = login.done("export KRB5CCNAME=FILE:$PWD/file; typed alice; [ ! -e file ]");
    assert!(said.contains(&format!("export KRB5CCNAME={SESSION_CACHE}\n")), "{said}");
    login.site.libdefaults("default_ccache_name = KEYRING:session:configured");
    let said = login.done("typed alice; klist");
    assert!(said.contains("Ticket cache: KEYRING:session:configured:") && !said.contains("export"), "{said}");
}

fn a_keytab_serves_by_name_and_by_default(shared: &Shared) {
    let login = Login::new(shared.realm());
    let (other, keytab) = another_client(&login, shared.realm());
    let shown = format!("klist -c {SESSION_CACHE}");
    for script in [
        format!("lgss_kinit -k -t {keytab} {other}; {shown}"),
        format!("lgss_kinit -t FILE:{keytab} {other}; {shown}"),
        format!("KRB5_KTNAME={keytab} lgss_kinit -k {other}; {shown}"),
        format!("KRB5_CLIENT_KTNAME={keytab} lgss_kinit -k -i; {shown}"),
    ] {
        let said = login.done(&script);
        assert!(said.contains(&format!("Default principal: {other}@")), "{script}: {said}");
    }
    for (script, words) in [
        (format!("lgss_kinit -k -t {keytab} alice"), ["while getting initial credentials", "klist -kte"]),
        (format!("lgss_kinit -t {keytab}"), ["host/", "klist -kte"]),
        ("KRB5_CLIENT_KTNAME=/nowhere lgss_kinit -i".to_owned(), ["/nowhere", "-t"]),
    ] {
        let said = login.refused(&script);
        assert!(words.iter().all(|word| said.contains(word)), "{script}: {said}");
    }
}

fn tickets_are_copied_renewed_validated_and_as_the_options_want_them(shared: &Shared) {
    let login = Login::new(shared.realm());
    let show = format!("klist -f -a -c {SESSION_CACHE}");
    let flags = |said: &str| {
        let line = said.lines().find(|line| line.contains("Flags: ")).unwrap_or_else(|| panic!("{said}"));
        line.split("Flags: ").nth(1).unwrap().to_owned()
    };
    let said = login.done(&format!("typed -f -p -r 2d alice; lgss_kinit -R; {show}"));
    assert!(["F", "P", "R"].iter().all(|flag| flags(&said).contains(flag)), "{said}");
    let said = login.done(&format!("typed -F -P -A -l 2h -S kadmin/changepw alice; {show}"));
    assert!(said.contains("kadmin/changepw@") && !said.contains("krbtgt/"), "{said}");
    assert!(!flags(&said).contains(['F', 'P']) && said.contains("Addresses: (none)"), "{said}");
    let said = login.done(&format!("typed -a alice; {show}"));
    assert!(said.contains("Addresses: ") && !said.contains("Addresses: (none)"), "{said}");
    // Postdated by a second, then valid.
    let said = login.done(&format!(
        "typed -s 1 alice; i=0; until lgss_kinit -v 2>said; do grep -q 'not yet valid' said; i=$((i+1)); [ $i -lt 100 ]; sleep 0.1; done; {show}"
    ));
    assert!(!flags(&said).contains('i'), "{said}");
    let file = login.site.cache("file");
    let said = login.done(&format!(
        "printf '%s\\n' \"$PASSWORD\" | kinit -c {file} alice; lgss_kinit --from {file}; {show}"
    ));
    assert!(said.contains("Default principal: alice@") && said.contains("krbtgt/"), "{said}");
    let said = login.refused("typed -f -E alice@elsewhere.test");
    assert!(said.contains("alice\\@elsewhere.test@"), "{said}");
    // What has expired in a keyring cannot be read, and is passed over.
    let service = shared.realm().service().replace('@', "/");
    let said = login.done(&format!(
        "typed alice; kvno -q -c {SESSION_CACHE} {service}
        key=$(keyctl search @s user {service}@{realm}); keyctl timeout $key 1
        i=0; while keyctl print $key >/dev/null 2>&1; do i=$((i+1)); [ $i -lt 100 ]; sleep 0.1; done
        lgss_kinit --keyring user --from {SESSION_CACHE}; klist -c KEYRING:user:krb5; kdestroy -A -c KEYRING:user:krb5",
        realm = shared.realm().name()
    ));
    assert!(said.contains("Default principal: alice@") && said.contains("krbtgt/"), "{said}");
    shared.realm().expired_ticket(login.site.uid(), &file);
    let said = login.refused(&format!("lgss_kinit --from {file}"));
    assert!(said.contains("no ticket that has not expired") && said.contains("try: "), "{said}");
    for (script, word) in
        [("lgss_kinit --from FILE:/nowhere", "/nowhere"), ("lgss_kinit -R", "get some: lgss_kinit")]
    {
        assert!(login.refused(script).contains(word), "{script}");
    }
}

fn a_failure_leaves_the_old_tickets_and_says_what_to_do(shared: &Shared) {
    let login = Login::new(shared.realm());
    let silent = free_port();
    for (script, words) in [
        ("PASSWORD=wrong; typed alice", ["Password incorrect while getting initial credentials", ""]),
        ("typed nobody", ["not found in Kerberos database", "spelling of the principal"]),
        ("typed alice@NOWHERE.TEST", ["NOWHERE.TEST", "check the realm"]),
        ("lgss_kinit -R", ["while renewing credentials", "lgss_kinit -r 7d"]),
        ("lgss_kinit alice </dev/null", ["while getting initial credentials", ""]),
        (
            "sed \"s/kdc = .*/kdc = 127.0.0.1:$PORT/\" $KRB5_CONFIG >own.conf; export KRB5_CONFIG=$PWD/own.conf; typed alice",
            ["Cannot contact any KDC", "check the network"],
        ),
    ] {
        let said = login.done(&format!(
            "PORT={silent}; typed alice 2>/dev/null; klist -c {SESSION_CACHE} >before
            if ({script}) 2>said; then exit 1; fi; cat said; klist -c {SESSION_CACHE} | diff before -"
        ));
        assert!(words.iter().all(|word| said.contains(word)), "{script}: {said}");
    }
    login.ends_with(2, "lgss_kinit -c FILE:x alice");
}

fn a_full_quota_leaves_the_old_tickets_and_is_told_with_figures(shared: &Shared) {
    let login = Login::new(shared.realm());
    let (other, _) = another_client(&login, shared.realm());
    let said = login.done(&format!(
        "typed alice 2>/dev/null; klist -A -c {SESSION_CACHE} >before
        left() {{ {LEFT}; }}
        fill=$(head -c $(($(left) - 500)) /dev/zero | keyctl padd user fill @s)
        if typed {other} 2>said; then exit 1; fi; cat said
        klist -A -c {SESSION_CACHE} | diff before -; keyctl unlink $fill @s
        i=0; until [ $(left) -gt 5000 ]; do i=$((i+1)); [ $i -lt 200 ]; sleep 0.1; done; typed {other}"
    ));
    let uid = login.site.uid();
    let words = ["Disk quota exceeded", &format!("uid {uid} has used"), "kernel.keys.maxbytes"];
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

fn a_quota_that_will_not_do_is_told_before_the_password_is_asked_for(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said = login.done(&format!(
        "left() {{ {LEFT}; }}; typed alice >quiet 2>&1; ! grep quota quiet; echo quiet before
        fill=$(head -c $(($(left) - 1500)) /dev/zero | keyctl padd user fill @s); before=$(left)
        exec 2>&1; KRB5_CONFIG=/dev/null lgss_kinit alice </dev/null || true; [ $(left) -ge $before ]
        keyctl unlink $fill @s; i=0; until [ $(left) -gt 5000 ]; do i=$((i+1)); [ $i -lt 200 ]; sleep 0.1; done
        head -c $(($(left) - 1700)) /dev/zero | keyctl padd user fill @s >/dev/null; typed --keyring user alice"
    ));
    let uid = login.site.uid();
    let told = format!("tickets may not fit into what is left of the quota: uid {uid} has used ");
    assert!(said.contains("quiet before") && said.contains(&told), "{said}");
    assert!(said.find(&told) < said.find("while looking for the principal"), "{said}");
    let told = "bytes are stored, and as many more do not fit into the quota: uid";
    assert!(said.contains(told) && said.contains("raise kernel.keys.maxkeys"), "{said}");
}

/// The kernel frees the room of what is removed some time later.
fn tickets_that_fit_in_place_of_the_old_ones_only_are_stored(shared: &Shared) {
    let login = Login::new(shared.realm());
    let service = shared.realm().service().replace('@', "/");
    let said = login.done(&format!(
        "typed alice; kvno -q -c {SESSION_CACHE} {service}
        head -c $(($({LEFT}) - 500)) /dev/zero | keyctl padd user fill @s
        for i in 1 2 3; do typed alice; kvno -q -c {SESSION_CACHE} {service}; done; klist -c {SESSION_CACHE}"
    ));
    assert!(said.contains(&service) && said.contains("Default principal: alice@"), "{said}");
}

fn a_ticket_that_is_a_single_key_serves_the_upcall(shared: &Shared) {
    let login = Login::new(shared.realm());
    let site = &login.site;
    let kinit = site.path("lgss_kinit").display().to_string();
    for (word, options) in [("session", &[][..]), ("user", &["--keyring", "user"])] {
        let words = [&[kinit.as_str(), "--single-key", "alice"], options].concat();
        let mut steps = as_user(site.uid());
        steps.push(run(site, words.iter().map(|&word| word.to_owned()).collect()));
        let outcome = site.ask_after(steps, site.request(shared.nfs()));
        call_null_with(&outcome.context(), shared.nfs());
        let realm = shared.realm().name();
        let place = format!(" in \"key krbtgt/{realm}@{realm} in the {word} keyring\", ");
        site.log.wait_for_words(&["chosen: alice@", &place]);
        site.wait_until_idle();
    }
    let said = login.done(&format!(
        "name=krbtgt/{realm}@{realm}; old=$(keyctl add user $name x @s); keyctl setperm $old 0x3f3f3f3f
        typed -l 1h --single-key -V alice; new=$(keyctl search @s user $name); [ $new != $old ]
        keyctl rdescribe $new; awk -v key=$(printf %08x $new) '$1 == key {{ print \"ends in\", $4 }}' /proc/keys
        fails keyctl session - keyctl print $new; [ $(keyctl rlist @s | wc -w) = 1 ]; echo alone
        typed --single-key --keyring persistent alice || echo status $?",
        realm = shared.realm().name()
    ));
    for word in ["Using key: krbtgt/", ";3f010000;krbtgt/", "alone\n", "status 2"] {
        assert!(said.contains(word), "no {word}: {said}");
    }
    assert!(said.contains("ends in 59m") || said.contains("ends in 1h"), "{said}");
}

/// Both new words come from standard input, as the first one did.
fn an_expired_password_is_changed(_: &Shared) {
    let mut realm = Realm::start();
    let [passwords, administration] = [free_port(), free_port()];
    let name = realm.name();
    let served = format!(
        "[realms]\n {name} = {{\n  kadmind_listen = 127.0.0.1:{administration}\n  kpasswd_listen = 127.0.0.1:{passwords}\n }}\n"
    );
    let known = format!("[realms]\n {name} = {{\n  kpasswd_server = 127.0.0.1:{passwords}\n }}\n");
    realm.restart_with(&served, &known);
    fs::write(realm.path("acl"), "").unwrap();
    realm.administrate(&["modprinc +needchange alice"]);
    let mut kadmind = command("kadmind");
    kadmind.arg("-nofork").envs(realm.environment());
    let _kadmind = Daemon::start(kadmind, &realm.path(""), "kadmind.out");
    wait_for("kadmind", Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", passwords)).ok());
    let login = Login::new(&realm);
    fs::write(login.site.path("krb5.conf"), realm.krb5_conf() + &known).unwrap();
    let said = login.done(&format!(
        "printf '%s\\n' \"$PASSWORD\" 'another horse' 'another horse' | lgss_kinit alice; klist -c {SESSION_CACHE}
        PASSWORD='another horse'; typed alice"
    ));
    assert!(said.contains("Enter new password") && said.contains("krbtgt/"), "{said}");
}

/// The KDC puts one in unless it is asked not to, and that makes the ticket longer.
fn a_ticket_has_a_pac_or_none_as_the_option_says(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said = login.done(
        "size() { keyctl pipe $(keyctl show @s | awk '/: krbtgt/ { print $1 }') | wc -c; }
        typed --request-pac alice; with=$(size); typed --no-request-pac alice; without=$(size)
        [ $without -gt 100 ] && [ $((with - without)) -gt 100 ] && echo as the option says",
    );
    assert!(said.contains("as the option says"), "{said}");
}
