//! A test's network namespace, with its own loopback interface.

use super::process::{Daemon, command, succeed};
use super::wait::wait_for;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Exists as long as the process that holds it.
#[derive(Debug)]
pub(crate) struct NetNamespace(Daemon);

impl NetNamespace {
    pub(crate) fn new(directory: &Path) -> Self {
        Self::made_by(command("unshare"), directory)
    }

    /// Made by this unshare(1), which may have options already.
    pub(crate) fn made_by(mut unshare: Command, directory: &Path) -> Self {
        unshare.args(["--net", "sleep", "infinity"]);
        let namespace = Self(Daemon::start(unshare, directory, "netns.log"));
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        wait_for("the network namespace", Duration::from_secs(5), || {
            fs::read_link(namespace.path()).ok().filter(|theirs| *theirs != ours)
        });
        succeed(namespace.enter(Command::new("ip")).args(["link", "set", "lo", "up"]), "");
        // With no address but 127.0.0.1, getaddrinfo(AI_ADDRCONFIG) finds nobody.
        succeed(
            namespace.enter(Command::new("ip")).args(["address", "add", "192.0.2.1/32", "dev", "lo"]),
            "",
        );
        namespace
    }

    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.pid())
    }

    /// The servers that the host's resolver is configured to ask exist in this namespace, and stay silent as long as
    /// the sockets are open.
    pub(crate) fn silence_name_service(&self) -> Vec<UdpSocket> {
        self.name_service_sockets()
    }

    /// Sockets at the addresses that the host's resolver is configured to ask.
    pub(crate) fn name_service_sockets(&self) -> Vec<UdpSocket> {
        self.name_service_sockets_of_both_kinds().into_iter().map(|(udp, _)| udp).collect()
    }

    /// The same, each with a socket for TCP, which takes connections as long as it is open.
    pub(crate) fn name_service_sockets_of_both_kinds(&self) -> Vec<(UdpSocket, TcpListener)> {
        let configuration = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let named =
            configuration.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok());
        let mut servers: Vec<IpAddr> = named.collect();
        if servers.is_empty() {
            // The default of resolv.conf(5) if it names none.
            servers.push(Ipv4Addr::LOCALHOST.into());
        }
        for server in servers.iter().filter(|server| !server.is_loopback()) {
            let mut ip = self.enter(Command::new("ip"));
            succeed(ip.args(["address", "add", &server.to_string(), "dev", "lo"]), "");
        }
        let path = self.path();
        // In a separate thread, since setns(2) changes the thread for good.
        let inside = std::thread::spawn(move || {
            let net = fs::File::open(path).unwrap();
            nix::sched::setns(net, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let both =
                |server| (UdpSocket::bind((server, 53)).unwrap(), TcpListener::bind((server, 53)).unwrap());
            servers.into_iter().map(both).collect()
        });
        inside.join().unwrap()
    }

    /// `program` run inside; the caller may add arguments.
    pub(crate) fn enter(&self, program: Command) -> Command {
        let mut inside = command("nsenter");
        inside
            .arg(format!("--net={}", self.path()))
            .arg("--")
            .arg(program.get_program())
            .args(program.get_args());
        inside
    }
}
