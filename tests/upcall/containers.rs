//! Users in containers: their caches exist only there, they may have a realm of their own, and no file of theirs is
//! executed or trusted.

use crate::plan::{Container, PlantedFile, Subordinates};
use crate::support::cgroup::Cgroup;
use crate::support::ganesha::Ganesha;
use crate::support::netns::NetNamespace;
use crate::support::outcome::Outcome;
use crate::support::probe::{Step, as_user, probe};
use crate::support::process::{Until, command, succeed};
use crate::support::realm::{Realm, RealmOptions};
use crate::support::rpc::call_null_with;
use crate::support::scratch::Scratch;
use crate::support::server::Target;
use crate::support::shared::Shared;
use crate::support::site::{Settings, Site};
use nix::errno::Errno;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

crate::trials![
    a_user_in_namespaces_of_all_kinds_is_served_from_a_cache_that_is_only_there,
    a_container_has_the_realm_that_a_table_for_its_owner_names,
    a_container_has_the_realm_that_a_table_for_its_cgroup_names,
    another_root_directory_alone_is_no_other_namespace,
    nothing_of_a_container_is_loaded_or_believed,
];

/// The user's uid in a container with a user namespace.
const INSIDE: u32 = 1000;
/// A cache that only the container has: the default cache of the uid inside, and without a user namespace one that the
/// search finds.
const CACHE: &str = "/tmp/krb5cc_1000";

/// A container; with `owner`, in a user namespace of that owner, in which the site's user is a subordinate.
fn container_of(site: &Site, owner: Option<u32>) -> Container {
    let subordinates = owner.map(|owner| Subordinates { owner, user: site.uid() });
    Container { subordinates, ..Container::default() }
}

/// Steps of the site's user in the container, with this content in its cache, if any.
fn user_in(site: &Site, container: Container, cache: Option<Vec<u8>>) -> Vec<Step> {
    let uid = if container.subordinates.is_some() { INSIDE } else { site.uid() };
    let planted = |content| PlantedFile { path: CACHE.to_owned(), owner: uid, mode: 0o600, content };
    let files = cache.into_iter().map(planted).collect();
    vec![
        Step::Container(container),
        Step::PrivateDirectory { directory: "/tmp".to_owned(), files },
        Step::Ids { uid: [uid; 3], gid: [uid; 3] },
        Step::JoinSession,
    ]
}

fn ask(site: &Site, steps: Vec<Step>, target: &Target) -> Outcome {
    site.ask_after(steps, site.request(target))
}

/// Mount, process-id and network namespaces; once with a user namespace and subordinate uids, once without. KDC and
/// server exist only in them.
fn a_user_in_namespaces_of_all_kinds_is_served_from_a_cache_that_is_only_there(_: &Shared) {
    let directory = Scratch::new();
    let net = NetNamespace::new(&directory.path(""));
    let realm = Realm::start_with(RealmOptions { netns: Some(&net), ..Default::default() });
    let ganesha = Ganesha::start_in(&realm, Until::TestEnds, Some(&net));
    let site = Site::new(&realm);
    realm.ticket_in(&net, site.uid(), &site.cache("tgt"));
    let cache = fs::read(site.path("user").join("tgt")).unwrap();
    for owner in [Some(site.machine_uid()), None] {
        let enter = Step::EnterNet { path: net.path() };
        let steps = |cache| [vec![enter.clone()], user_in(&site, container_of(&site, owner), cache)].concat();
        let context = ask(&site, steps(Some(cache.clone())), ganesha.target()).context();
        assert_eq!(context.handle.as_bytes().len(), 16, "{owner:?}");
        assert_eq!(ask(&site, steps(None), ganesha.target()).errno(), Errno::ENOKEY, "{owner:?}");
    }
    site.wait_until_idle();
}

/// A second realm, which the host's configuration does not know.
struct OwnRealm {
    realm: Realm,
    server: Ganesha,
    site: Site,
    /// Contents of its user's cache.
    cache: Vec<u8>,
}

impl OwnRealm {
    fn start(shared: &Shared) -> Self {
        let realm = Realm::start();
        let server = Ganesha::start(&realm, Until::TestEnds);
        let site = Site::new(shared.realm());
        realm.ticket(site.uid(), &site.cache("tgt"));
        let cache = fs::read(site.path("user").join("tgt")).unwrap();
        fs::write(site.path("own.conf"), realm.krb5_conf()).unwrap();
        Self { realm, server, site, cache }
    }

    /// Adds a table of namespaces with this condition and the realm's configuration.
    fn configure(&self, condition: &str) {
        let own = self.site.path("own.conf");
        self.site.add_settings(&format!("[namespace.own]\n{condition}\nkrb5_config = {own:?}\n"));
    }

    fn ask(&self, container: Container) -> Outcome {
        ask(&self.site, user_in(&self.site, container, Some(self.cache.clone())), self.server.target())
    }

    #[track_caller]
    fn assert_served(&self, container: Container) {
        call_null_with(&self.ask(container).context(), self.server.target());
    }

    #[track_caller]
    fn assert_unknown(&self, container: Container) {
        self.assert_without_kdc(self.ask(container));
    }

    #[track_caller]
    fn assert_without_kdc(&self, outcome: Outcome) {
        let errno = outcome.errno();
        self.site.log.wait_for_words(&["Cannot find KDC", &self.realm.name()]);
        assert_eq!(errno, Errno::EHOSTUNREACH);
    }

    /// The host's configuration serves users outside containers.
    fn assert_host_is_as_before(&self, shared: &Shared) {
        self.site.ticket(shared.realm());
        call_null_with(&self.site.ask(shared.nfs()).context(), shared.nfs());
    }
}

fn a_container_has_the_realm_that_a_table_for_its_owner_names(shared: &Shared) {
    let own = OwnRealm::start(shared);
    let owner = own.site.machine_uid();
    own.assert_unknown(container_of(&own.site, Some(owner)));
    own.configure(&format!("owner = {owner}"));
    own.assert_served(container_of(&own.site, Some(owner)));
    // The user's own namespace and one without an owner do not match.
    own.assert_unknown(container_of(&own.site, None));
    own.assert_host_is_as_before(shared);
}

fn a_container_has_the_realm_that_a_table_for_its_cgroup_names(shared: &Shared) {
    let own = OwnRealm::start(shared);
    let cgroup = Cgroup::new(own.site.uid());
    let inside = |owner| Container { cgroup: Some(cgroup.inner()), ..container_of(&own.site, owner) };
    own.assert_unknown(inside(None));
    own.configure(&format!("cgroup = {:?}", cgroup.path()));
    own.assert_served(inside(None));
    own.assert_served(inside(Some(own.site.machine_uid())));
    own.assert_unknown(container_of(&own.site, None));
    own.assert_host_is_as_before(shared);
}

/// Even with a table that matches every path.
fn another_root_directory_alone_is_no_other_namespace(shared: &Shared) {
    let own = OwnRealm::start(shared);
    own.configure("cgroup = \"/*\"");
    own.assert_served(container_of(&own.site, None));
    let jail = own.site.path("jail");
    fs::create_dir_all(jail.join("tmp")).unwrap();
    let cache = jail.join(&CACHE[1..]);
    fs::copy(own.site.path("user").join("tgt"), &cache).unwrap();
    chown(&cache, Some(own.site.uid()), Some(own.site.uid())).unwrap();
    let mut steps = vec![Step::Chroot { path: jail.display().to_string() }];
    steps.extend(as_user(own.site.uid()));
    own.assert_without_kdc(ask(&own.site, steps, own.server.target()));
}

/// Libraries that leave a mark when they are loaded, one for each way of loading.
struct Markers {
    directory: PathBuf,
}

const WAYS: [&str; 5] = ["preload", "nss", "mech", "hostrealm", "plugin"];

impl Markers {
    fn new(site: &Site) -> Self {
        let markers = Self { directory: site.path("marks") };
        fs::create_dir(&markers.directory).unwrap();
        fs::set_permissions(&markers.directory, fs::Permissions::from_mode(0o777)).unwrap();
        let source = markers.directory.join("mark.c");
        fs::write(
            &source,
            "#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void loaded(void)\n\
             { close(open(MARK, O_CREAT | O_WRONLY, 0666)); }\n",
        )
        .unwrap();
        for way in WAYS {
            let mark = format!("-DMARK={:?}", markers.directory.join(way));
            let mut cc = command("cc");
            cc.args(["-shared", "-fPIC", &mark, "-o"]).arg(markers.library(way)).arg(&source);
            succeed(&mut cc, "");
        }
        let program = markers.directory.join("mechanisms.c");
        fs::write(
            &program,
            "#include <gssapi/gssapi.h>\nint main(void)\n\
             { OM_uint32 minor; gss_OID_set set; return gss_indicate_mechs(&minor, &set) != GSS_S_COMPLETE; }\n",
        )
        .unwrap();
        let mut cc = command("cc");
        cc.arg("-o").arg(markers.mechanisms()).arg(&program).arg("-lgssapi_krb5");
        succeed(&mut cc, "");
        markers
    }

    fn library(&self, way: &str) -> PathBuf {
        self.directory.join(format!("{way}.so"))
    }

    /// A program in the container that loads the mechanisms of its mech.d.
    fn mechanisms(&self) -> PathBuf {
        self.directory.join("mechanisms")
    }

    /// The ways used since the last call.
    fn take(&self) -> Vec<&'static str> {
        let loaded: Vec<_> = WAYS.into_iter().filter(|way| self.directory.join(way).exists()).collect();
        loaded.iter().for_each(|way| fs::remove_file(self.directory.join(way)).unwrap());
        loaded
    }

    /// Steps that plant them all, as root in a container.
    fn planted(&self) -> Vec<Step> {
        let file = |path: &str, content: String| PlantedFile {
            path: path.to_owned(),
            owner: 0,
            mode: 0o644,
            content: content.into_bytes(),
        };
        let library = |way: &str| self.library(way).display().to_string();
        let krb5 = format!(
            "[libdefaults]\n default_realm = EVIL.TEST\n default_ccache_name = FILE:/etc/shadow\n\
             [plugins]\n hostrealm = {{\n  module = evil:{}\n }}\n",
            library("hostrealm")
        );
        let etc = vec![
            file("/etc/krb5.conf", krb5),
            file("/etc/gss/mech.d/evil.conf", format!("evil 1.3.6.1.4.1.5.6 {}\n", library("mech"))),
            file("/etc/nsswitch.conf", "hosts: hesiod\npasswd: hesiod\n".to_owned()),
            file("/etc/ld.so.preload", format!("{}\n", library("preload"))),
            file("/etc/request-key.conf", "create user * * /bin/false\n".to_owned()),
        ];
        let system = system_libraries();
        let plugins = system.join("krb5/plugins/libkrb5").display().to_string();
        let plugin = PlantedFile {
            path: format!("{plugins}/evil.so"),
            owner: 0,
            mode: 0o755,
            content: fs::read(self.library("plugin")).unwrap(),
        };
        let nss = system.join("libnss_hesiod.so.2").display().to_string();
        vec![
            Step::Container(Container::default()),
            run(&["mount", "--bind", &library("nss"), &nss]),
            Step::PrivateDirectory { directory: plugins, files: vec![plugin] },
            // The last one, because every program executed after it loads the library.
            Step::PrivateDirectory { directory: "/etc".to_owned(), files: etc },
        ]
    }
}

fn run(words: &[&str]) -> Step {
    Step::Run { words: words.iter().map(|&word| word.to_owned()).collect(), input: String::new() }
}

/// Where packages install libraries.
fn system_libraries() -> PathBuf {
    let triplet = succeed(command("cc").arg("-print-multiarch"), "");
    Path::new("/usr/lib").join(triplet.trim())
}

/// krb5.conf with a module, mech.d, a directory of plugins, a library of the name service, and a preload list: all of
/// them work for a program of the container, and none for its context.
fn nothing_of_a_container_is_loaded_or_believed(shared: &Shared) {
    // In its sandbox a library that was loaded nevertheless could leave no mark.
    let site = Site::with(shared.realm(), &Settings { sandbox: "off", ..Default::default() });
    let markers = Markers::new(&site);
    site.ticket(shared.realm());
    // The host name makes the worker ask the name service.
    let mut request = site.request(shared.nfs());
    let callout = String::from_utf8(request.callout.take().unwrap()).unwrap();
    assert!(callout.contains("rpc:127.0.0.1:"), "{callout}");
    request.callout = Some(callout.replace("rpc:127.0.0.1:", "rpc:localhost:").into_bytes());

    let mut steps = markers.planted();
    let mechanisms = markers.mechanisms().display().to_string();
    // The commands fail after they have loaded the libraries.
    steps.push(run(&[
        "sh",
        "-c",
        "exec 2>/dev/null; getent hosts nobody.test; env -u KRB5_CONFIG kinit nobody; true",
    ]));
    steps.push(run(&["env", "-u", "KRB5_CONFIG", &mechanisms]));
    probe(&steps);
    assert_eq!(markers.take(), WAYS, "what programs of the container load");

    let uid = site.uid();
    let mut steps = markers.planted();
    steps.extend([Step::Ids { uid: [uid; 3], gid: [uid; 3] }, Step::JoinSession]);
    call_null_with(&site.ask_after(steps, request.clone()).context(), shared.nfs());
    assert_eq!(markers.take(), [""; 0], "what was loaded for its context");

    // A worker that loads such a library leaves its mark: here the host's own configuration names one.
    let krb5 = fs::read_to_string(site.path("krb5.conf")).unwrap();
    let module = markers.library("hostrealm");
    let plugins = format!("[plugins]\n hostrealm = {{\n  module = ours:{}\n }}\n", module.display());
    fs::write(site.path("krb5.conf"), krb5 + &plugins).unwrap();
    site.ask_with(request);
    assert_eq!(markers.take(), ["hostrealm"]);
}
