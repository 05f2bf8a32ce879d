use std::time::Duration;

use nix::errno::Errno;

use super::*;
use crate::config::{LogLevel, Seconds};
use crate::event::meaning;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("lgss.toml"))
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn settings_are_read_with_units() {
    let config =
        parse("worker = \"/w\"\n[timeouts]\nkdc = 7\nround = \"250ms\"\n[log]\nlevel = \"debug\"\n").unwrap();
    assert_eq!(config.worker, Path::new("/w"));
    assert_eq!(config.timeouts.kdc.0, Duration::from_secs(7));
    assert_eq!(config.timeouts.round.0, Duration::from_millis(250));
    assert_eq!(config.log.level, LogLevel::Debug);
}

#[test]
fn mistakes_are_errors_that_name_the_line() {
    for (text, part) in [
        ("worker = \"/w\"\nwroker = \"/x\"\n", "line 2: unknown field"),
        ("[timeouts]\nkdc = \"5 parsecs\"\n", "line 2"),
        ("[timeouts]\nkdc = 0\n", "zero"),
        ("[timeouts]\ndeadline = 500\n", "maximum"),
        ("[timeouts]\nmount = 61\n", "maximum of 60 s"),
        ("worker = \"relative\"\n", "worker: \"relative\" is not an absolute path"),
        ("[limits]\nusers = 0\n", "limits.users must not be zero"),
        ("[log]\nper_owner = 0\n", "log.per_owner must not be zero"),
        (
            "[limits]\nusers = 70000\n",
            "line 2: invalid value: integer `70000`, expected a whole number of at most 65535",
        ),
        ("[timeouts]\nkdc = 1.5\n", "line 2: a duration is a whole number of seconds"),
        ("[limits]\nmemory = 10\n", "64 MiB"),
        ("[limits]\ncgroup = \"/a\"\n", "cgroup"),
        ("[limits]\ncgroup = \"a/../b\"\n", "cgroup"),
        ("[backoff]\nfirst = 60\n", "longest"),
        ("[caches]\nkrb5ccname = \"always\"\n", "line 2"),
        ("[caches]\nchoice = \"newest\"\n", "line 2"),
        ("[caches]\nclient_keytab = \"%{uid}.keytab\"\n", "client_keytab"),
        ("[caches]\nclient_keytab = \"/var/lib/keytabs/all\"\n", "client_keytab"),
        ("[kerberos]\nenctypes = [\"rc4-hmac\"]\n", "line 2"),
        ("[kerberos]\nenctypes = []\n", "line 2"),
        ("[kerberos]\ncanonicalize = \"maybe\"\n", "line 2"),
        ("[machine]\nkeytab = \"krb5.keytab\"\n", "absolute"),
        ("[machine]\ncache = \"both\"\n", "line 2"),
        ("[lustre]\nrealm = \"A B\"\n", "realm"),
        ("[lustre.nids]\n\"10.0.0\" = \"mds1\"\n", "line 2"),
        ("[lustre.nids]\n\"10.0.0.1@tcp\" = \"\"\n", "host name"),
        ("[file_system.fast]\nrealms = \"A\"\n", "line 2"),
        ("[file_system.fast]\nkeytab = \"fast.keytab\"\n", "file_system.fast.keytab: "),
        ("[file_system.fast]\nprincipal = \"\"\n", "principal"),
        ("[namespace.web]\nkeytab = \"/k\"\n", "namespace.web: neither owner nor cgroup"),
        ("[namespace.web]\nowner = -1\n", "line 2"),
        ("[namespace.web]\nowner = 1\nrealms = \"A\"\n", "line 3"),
        ("[namespace.web]\nowner = 1\nrealm = \"A\"\n", "keytab"),
        ("[namespace.web]\nowner = 1\nkeytab = \"/k\"\nprincipal = \"a b\"\n", "principal"),
        ("[namespace.web]\nowner = 1\nkrb5_config = \"krb5.conf\"\n", "namespace.web.krb5_config: "),
        ("[namespace.web]\ncgroup = \"web\"\n", "cgroup"),
        ("[namespace.web]\ncgroup = \"/\"\n", "cgroup"),
        ("[namespace.web]\ncgroup = \"/a/../b\"\n", "cgroup"),
        ("worker\n", "line 1"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn who_is_turned_away_is_told_how_long_a_pause_lasts_at_most() {
    assert!(meaning(Errno::EAGAIN).remedy.contains("half a minute"));
    assert_eq!(Backoff::default().longest, Seconds::of(30));
}
