//! NFS-Ganesha with a memory file system: a real RPCSEC_GSS server.

use super::netns::NetNamespace;
use super::ports::free_port;
use super::process::{Daemon, Until, command};
use super::realm::Realm;
use super::server::Target;
use super::wait::wait_for;
use nix::sys::signal::Signal;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

/// Writes to /run and /var/lib/nfs stay in a private mount namespace.
const PRIVATE: &str = "mount -t tmpfs lgss-test /run && mkdir -p /run/ganesha && \
    mount -t tmpfs lgss-test /var/lib/nfs && mkdir -p /var/lib/nfs/ganesha && exec \"$@\"";

/// Runs until it is dropped, in the realm's directory.
#[derive(Debug)]
pub(crate) struct Ganesha {
    daemon: Daemon,
    target: Target,
}

impl Ganesha {
    pub(crate) fn start(realm: &Realm, until: Until) -> Self {
        Self::start_in(realm, until, None)
    }

    pub(crate) fn start_in(realm: &Realm, until: Until, netns: Option<&NetNamespace>) -> Self {
        for _ in 0..5 {
            let port = free_port();
            fs::write(realm.path("ganesha.conf"), configuration(realm, port)).unwrap();
            let target = Target::nfs(&realm.service(), port);
            let mut ganesha = Self { daemon: Self::spawn(realm, until, netns), target };
            let up = wait_for("NFS-Ganesha", Duration::from_secs(60), || {
                let log = fs::read_to_string(realm.path("ganesha.log")).unwrap_or_default();
                let listens = log.contains("NFS SERVER INITIALIZED")
                    && (netns.is_some() || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
                if listens { Some(true) } else { ganesha.daemon.ended().map(|_| false) }
            });
            if up {
                return ganesha;
            }
        }
        panic!("no NFS-Ganesha: {}", fs::read_to_string(realm.path("ganesha.log")).unwrap_or_default());
    }

    fn spawn(realm: &Realm, until: Until, netns: Option<&NetNamespace>) -> Daemon {
        let mut unshare = match until {
            Until::TestEnds => command("unshare"),
            Until::RunEnds => Command::new("unshare"),
        };
        unshare.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            PRIVATE,
            "sh",
            "ganesha.nfsd",
            "-F",
        ]);
        unshare.arg("-f").arg(realm.path("ganesha.conf"));
        unshare.arg("-L").arg(realm.path("ganesha.log")).arg("-p").arg(realm.path("ganesha.pid"));
        let mut program = match netns {
            Some(netns) => netns.enter(unshare),
            None => unshare,
        };
        program.envs(realm.environment());
        let _ = fs::remove_file(realm.path("ganesha.log"));
        Daemon::start(program, &realm.path(""), "ganesha.out")
    }

    /// A server at the same place that has forgotten everything.
    pub(crate) fn restart(&mut self, realm: &Realm) {
        self.daemon.signal(Signal::SIGKILL);
        wait_for("the end of NFS-Ganesha", Duration::from_secs(20), || self.daemon.ended());
        self.daemon = Self::spawn(realm, Until::TestEnds, None);
        let address = self.target.address();
        wait_for("NFS-Ganesha", Duration::from_secs(60), || {
            let log = fs::read_to_string(realm.path("ganesha.log")).unwrap_or_default();
            (log.contains("NFS SERVER INITIALIZED") && TcpStream::connect(address).is_ok()).then_some(())
        });
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

fn configuration(realm: &Realm, port: u16) -> String {
    let (service, keytab, caches) = (realm.service(), realm.keytab(), realm.path("ganesha-caches"));
    format!(
        "NFS_CORE_PARAM {{ NFS_Protocols = 4; NFS_Port = {port}; Enable_UDP = false; Enable_NLM = false; \
         Enable_RQUOTA = false; Bind_addr = 127.0.0.1; }}\n\
         NFS_KRB5 {{ PrincipalName = {service}; KeytabPath = {}; Active_krb5 = true; CCacheDir = {}; }}\n\
         NFSv4 {{ RecoveryBackend = fs; Graceless = true; }}\n\
         EXPORT {{ Export_Id = 1; Path = /export; Pseudo = /export; Access_Type = RW; Protocols = 4; \
         SecType = krb5,krb5i,krb5p; Squash = All_Squash; Anonymous_Uid = 0; Anonymous_Gid = 0; FSAL {{ Name = MEM; }} }}\n\
         LOG {{ Default_Log_Level = EVENT; }}\n",
        keytab.display(),
        caches.display(),
    )
}
