//! `lgss_kinit --for`: whether the ticket holds as long as a job will need it, and one that does.

use crate::kinit::another_client;
use crate::support::login::{Login, SESSION_CACHE};
use crate::support::shared::Shared;

crate::trials![
    a_ticket_that_holds_is_kept_and_no_kdc_is_asked,
    one_that_is_too_short_is_renewed_or_replaced_by_the_keytab,
    one_that_cannot_be_had_longer_is_told_by_status_three,
    a_script_on_standard_input_is_not_taken_for_a_password,
    the_tickets_of_another_client_do_not_count,
];

/// `state` names the keys of the tickets, `short OPTIONS…` expects status 3.
const FUNCTIONS: &str = "export KRB5CCNAME=KEYRING:session:krb5
state() { keyctl show @s | awk '/krbtgt/ { print $1 }'; }
short() { status=0; lgss_kinit \"$@\" || status=$?; [ $status = 3 ] || { echo \"$status: $*\"; exit 4; }; }
";

fn a_ticket_that_holds_is_kept_and_no_kdc_is_asked(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said = login.done(&format!(
        "{FUNCTIONS} typed -l 2h alice; before=$(state); sed 's/kdc = .*/kdc = 127.0.0.1:1/' $KRB5_CONFIG >away.conf
        KRB5_CONFIG=$PWD/away.conf lgss_kinit --for 1h </dev/null; [ \"$(state)\" = \"$before\" ]
        KRB5_CONFIG=$PWD/away.conf lgss_kinit --for 1h alice </dev/null; echo kept; klist -s -c {SESSION_CACHE}"
    ));
    assert!(said.contains("kept"), "{said}");
}

fn one_that_is_too_short_is_renewed_or_replaced_by_the_keytab(shared: &Shared) {
    let login = Login::new(shared.realm());
    let (other, keytab) = another_client(&login, shared.realm());
    let said = login.done(&format!(
        "{FUNCTIONS} typed -l 1h -r 1d alice; before=$(state); i=0
        until lgss_kinit --for 59m </dev/null && lgss_kinit --for 3599 </dev/null && [ \"$(state)\" != \"$before\" ]; do
            i=$((i+1)); [ $i -lt 100 ]; sleep 0.05; done; echo renewed
        lgss_kinit -k -t {keytab} -l 1m {other} </dev/null; lgss_kinit --for 2h -k -t {keytab} {other} </dev/null
        lgss_kinit --for 115m {other} </dev/null; echo replaced; klist -l | grep -c @"
    ));
    assert!(said.contains("renewed\n") && said.contains("replaced\n2\n"), "{said}");
}

fn one_that_cannot_be_had_longer_is_told_by_status_three(shared: &Shared) {
    let login = Login::new(shared.realm());
    let (other, keytab) = another_client(&login, shared.realm());
    shared.realm().administrate(&[format!("modprinc -maxlife 30min {other}")]);
    let said = login.done(&format!(
        "{FUNCTIONS} typed -l 1h alice; before=$(state); short --for 2h </dev/null; [ \"$(state)\" = \"$before\" ]
        typed -l 1h -r 1d alice; short --for 2h </dev/null
        lgss_kinit -k -t {keytab} -l 1m {other}; before=$(state)
        short --for 2h -k -t {keytab} {other}; [ \"$(state)\" != \"$before\" ]; lgss_kinit --for 29m {other} </dev/null; echo longest"
    ));
    let realm = shared.realm().name();
    assert!(said.contains(&format!("the tickets of alice@{realm} hold for ")), "{said}");
    assert!(said.contains("2 h were wanted"), "{said}");
    assert!(said.contains("get renewable ones, by -r TIME"), "{said}");
    assert!(said.contains("renewed, which can be done for "), "{said}");
    assert!(said.contains(&format!("the tickets of {other}@{realm} hold for ")), "{said}");
    assert!(said.contains("longest\n"), "{said}");
}

fn a_script_on_standard_input_is_not_taken_for_a_password(shared: &Shared) {
    let login = Login::new(shared.realm());
    let said =
        login.done("printf 'lgss_kinit --for 1h alice || echo status $?\\necho the next line\\n' | sh");
    assert!(said.contains("status 1\nthe next line"), "{said}");
    assert!(said.contains("standard input is no terminal"), "{said}");
}

fn the_tickets_of_another_client_do_not_count(shared: &Shared) {
    let login = Login::new(shared.realm());
    let (other, keytab) = another_client(&login, shared.realm());
    let said = login.done(&format!(
        "{FUNCTIONS} typed alice; fails lgss_kinit --for 1h -k -t {keytab}
        lgss_kinit --for 1h -k -t {keytab} {other}; klist | grep 'Default principal'
        # One that is kept becomes the primary one, too.
        lgss_kinit --for 1h alice </dev/null; klist | grep 'Default principal'
        # The second call finds what the first has got.
        kdestroy -A; lgss_kinit --for 2h -k -t {keytab} {other}; before=$(state)
        lgss_kinit --for 2h -k -t {keytab} {other}; [ \"$(state)\" = \"$before\" ]; echo kept"
    ));
    let whose: Vec<_> = said.lines().filter(|line| line.starts_with("Default principal")).collect();
    assert!(whose[0].contains(&other) && whose[1].contains("alice@") && said.contains("kept\n"), "{said}");
}
