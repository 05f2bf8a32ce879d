//! A node with its own principals, keytabs and caches, and the worker's credential code run for it.

use super::process::{command, succeed};
use super::realm::Realm;
use super::scratch::Scratch;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the test asks of the worker's code.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask<'a> {
    /// The request's flags, as letters.
    pub(crate) roles: &'a str,
    pub(crate) realm: Option<&'a str>,
    pub(crate) principal: Option<&'a str>,
    pub(crate) default_cache: Option<&'a Path>,
    pub(crate) own_cache: Option<&'a Path>,
    pub(crate) keytab: Option<&'a Path>,
    pub(crate) services: &'a [String],
    /// The sandbox in which it runs, by the name of its trial; none if absent.
    pub(crate) sandbox: Option<&'a str>,
}

#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) realm: &'a Realm,
    scratch: Scratch,
}

/// The JSON answer.
#[derive(Debug)]
pub(crate) struct Answer(Value);

impl<'a> Node<'a> {
    pub(crate) fn new(realm: &'a Realm) -> Self {
        let node = Self { realm, scratch: Scratch::new() };
        node.configure(&realm.krb5_conf());
        node
    }

    /// A name that is unique to this node and does not resolve.
    pub(crate) fn host(&self) -> String {
        format!("n{}.test", self.scratch.uid())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    /// Writes the worker's krb5.conf.
    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.path("krb5.conf"), text).unwrap();
    }

    /// Makes a principal and a keytab with its key. `@H` in the name stands for the host.
    #[track_caller]
    pub(crate) fn keytab_of(&self, principal: &str) -> PathBuf {
        self.realm.administrate(&[format!("addprinc -randkey {}", self.named(principal))]);
        self.another_key(principal)
    }

    /// Gives a principal a new key, which invalidates the old ones, and makes a keytab with it.
    #[track_caller]
    pub(crate) fn another_key(&self, principal: &str) -> PathBuf {
        let keytab = (0..).map(|n| self.path(&format!("{n}.keytab"))).find(|path| !path.exists()).unwrap();
        self.realm.administrate(&[format!("ktadd -k {} {}", keytab.display(), self.named(principal))]);
        keytab
    }

    pub(crate) fn named(&self, principal: &str) -> String {
        principal.replace("@H", &self.host())
    }

    /// A cache filled from a keytab, with options of kinit(1).
    #[track_caller]
    pub(crate) fn cache(&self, principal: &str, keytab: &Path, options: &[&str]) -> PathBuf {
        let cache = (0..).map(|n| self.path(&format!("{n}.cache"))).find(|path| !path.exists()).unwrap();
        let mut kinit = command("kinit");
        kinit.envs(self.realm.environment()).arg("-c").arg(&cache).arg("-k").arg("-t").arg(keytab);
        succeed(kinit.args(options).arg(self.named(principal)), "");
        cache
    }

    /// Output of klist(1) for a cache.
    #[track_caller]
    pub(crate) fn klist(&self, cache: &Path) -> String {
        let mut klist = command("klist");
        succeed(klist.envs(self.realm.environment()).args(["-f", "-e", "-c"]).arg(cache), "")
    }

    /// Asks for the credentials that the worker's code finds.
    #[track_caller]
    pub(crate) fn ask(&self, ask: &Ask<'_>) -> Answer {
        let has = |letter| ask.roles.contains(letter);
        let wanted = json!({ "credentials": {
            "roles": { "root": has('r'), "mdt": has('m'), "ost": has('o') },
            "realm": ask.realm,
            "host": self.host(),
            "principal": ask.principal,
            "default_cache": ask.default_cache,
            "own_cache": ask.own_cache,
            "keytab": ask.keytab,
            "services": ask.services,
        } });
        let sandbox = ask.sandbox.map(|trial| json!({ "trial": trial, "request": request_for_machine() }));
        self.run(&wanted, sandbox, command(env!("CARGO_BIN_EXE_lgss-node-probe")))
    }

    /// Asks for the host name of a network identifier, on a node with this hosts(5) file and this host name.
    #[track_caller]
    pub(crate) fn ask_for_host(&self, lookup: &Value, hosts: &str, name: &str) -> Answer {
        fs::write(self.path("hosts"), hosts).unwrap();
        fs::write(self.path("nsswitch.conf"), "hosts: files\n").unwrap();
        let script = "mount --bind \"$1/hosts\" /etc/hosts && mount --bind \"$1/nsswitch.conf\" /etc/nsswitch.conf \
                      && hostname \"$2\" && shift 2 && exec \"$@\"";
        let mut inside = command("unshare");
        inside.args(["--mount", "--uts", "sh", "-c", script, "sh"]).arg(self.path(""));
        inside.arg(name).arg(env!("CARGO_BIN_EXE_lgss-node-probe"));
        self.run(&json!({ "host": { "lookup": lookup, "limit": { "secs": 5, "nanos": 0 } } }), None, inside)
    }

    #[track_caller]
    fn run(&self, task: &Value, sandbox: Option<Value>, mut program: Command) -> Answer {
        let order = json!({ "uid": self.scratch.uid(), "sandbox": sandbox, "task": task });
        program.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        program.env("KRB5_CONFIG", self.path("krb5.conf")).arg(order.to_string());
        let said = succeed(&mut program, "");
        Answer(serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
    }
}

impl Answer {
    /// A field of a successful answer.
    #[track_caller]
    pub(crate) fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_else(|| panic!("{}", self.0))
    }

    #[track_caller]
    pub(crate) fn tickets(&self) -> Vec<&str> {
        let tickets = self.0["tickets"].as_array().unwrap_or_else(|| panic!("{}", self.0));
        tickets.iter().map(|ticket| ticket.as_str().unwrap()).collect()
    }

    /// The new contents of the cache, if there are any.
    #[track_caller]
    pub(crate) fn update(&self) -> Option<Vec<u8>> {
        serde_json::from_value(self.0.get("update").unwrap_or_else(|| panic!("{}", self.0)).clone()).unwrap()
    }

    /// The detail of a failure, which must have this stage and cause.
    #[track_caller]
    pub(crate) fn failure(&self, stage: &str, cause: &str) -> &str {
        let failure = &self.0["failure"];
        assert!(failure["cause"] == cause && failure["stage"] == stage, "{}", self.0);
        failure["detail"].as_str().unwrap()
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.0["failure"].is_null()
    }
}

/// A request of Lustre's with the machine's credentials, as the monitor sends it to a worker.
fn request_for_machine() -> Value {
    let lookup = json!({ "nid": "10.0.0.7@tcp", "configured": null, "program": "/etc/lgss/nid2hostname",
        "trust_unconfirmed_names": false });
    let limit = json!({ "secs": 10, "nanos": 0 });
    json!({
        "mechanism": "krb5",
        "target": { "lustre": { "server": "mds", "peer": lookup, "name": "lustre-MDT0000-mdc" } },
        "credentials": { "machines": {
            "roles": { "root": true, "mdt": false, "ost": false },
            "realm": null, "principal": null, "myself": null,
        } },
        "principal": null,
        "level": "integrity",
        "enctypes": ["aes256-cts-hmac-sha1-96"],
        "renew": false,
        "limits": { "kdc": limit, "connect": limit, "round": limit, "total": limit },
        "names": "as_the_host",
        "sandbox": "strict",
        "trail": "untold",
        "paused": null,
    })
}

/// A keytab entry (krb5 documentation, "Keytab file format") with a key that no KDC knows.
pub(crate) fn false_key(principal: &str, kvno: u8, enctype: u16) -> Vec<u8> {
    let (name, realm) = principal.split_once('@').unwrap();
    let components: Vec<&str> = name.split('/').collect();
    let counted = |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
    let mut entry = u16::try_from(components.len()).unwrap().to_be_bytes().to_vec();
    [realm].iter().chain(&components).for_each(|text| entry.extend(counted(text)));
    let length: u16 = if enctype == 18 { 32 } else { 16 };
    entry.extend([0, 0, 0, 1, 0, 0, 0, 0, kvno]);
    entry.extend([enctype, length].iter().flat_map(|number| number.to_be_bytes()));
    entry.extend(vec![7; length.into()]);
    [&i32::try_from(entry.len()).unwrap().to_be_bytes(), entry.as_slice()].concat()
}

/// A keytab with these entries.
pub(crate) fn keytab(entries: &[Vec<u8>]) -> Vec<u8> {
    [vec![5, 2], entries.concat()].concat()
}

/// The entries of a keytab.
pub(crate) fn entries(keytab: &Path) -> Vec<u8> {
    fs::read(keytab).unwrap().split_off(2)
}
