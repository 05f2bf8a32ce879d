//! How connections reach `lgss_agent`, what its process may do, and when it ends.

use crate::support::agent::{DoorAgent, KcmClient, agent_program, named, principal};
use crate::support::kcm::Kcm;
use crate::support::process::{Daemon, command, command_as, run};
use crate::support::shared::Shared;
use crate::support::site::{Site, install};
use crate::support::wait::wait_for;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::time::Duration;

crate::trials![
    connections_by_the_door_share_the_caches,
    a_connection_of_another_user_is_closed_unread,
    what_is_no_connection_is_ignored,
    an_idle_agent_without_caches_leaves_when_it_is_let_go,
    an_agent_with_a_cache_stays,
    without_the_door_open_connections_are_served_to_their_end,
    a_socket_of_systemds_is_served_until_all_is_idle,
    a_socket_that_a_dead_agent_has_left_is_replaced_and_a_live_ones_is_not,
    root_is_refused_and_misuse_is_named,
    the_process_has_no_rights_leaves_no_core_and_is_confined,
];

const SOON: Duration = Duration::from_secs(20);

fn quick_site(shared: &Shared) -> Site {
    let site = Site::new(shared.realm());
    site.add_settings("[agent]\nidle = \"3s\"\n");
    site
}

fn initialize(client: &mut KcmClient, label: &str) {
    client.done(4, &named(label, &principal("alice")));
}

fn connections_by_the_door_share_the_caches(shared: &Shared) {
    let site = Site::new(shared.realm());
    let agent = DoorAgent::start(&site);
    let (mut one, mut other) = (agent.connect(), agent.connect());
    initialize(&mut one, "0");
    assert_eq!(other.done(8, &named("0", &[])), principal("alice"));
    assert_eq!(other.done(20, &[]), b"0\0");
}

fn a_connection_of_another_user_is_closed_unread(shared: &Shared) {
    let site = Site::new(shared.realm());
    let agent = DoorAgent::start_for(&site, site.uid());
    let mut client = agent.connect();
    assert!(client.is_closed());
    site.log.wait_for_words(&["lgss_agent", "a connection of uid 0 is closed"]);
}

fn what_is_no_connection_is_ignored(shared: &Shared) {
    let site = Site::new(shared.realm());
    let mut agent = DoorAgent::start(&site);
    let file = File::open("/dev/null").unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    agent.pass(1, &[file.as_raw_fd()]);
    agent.pass(1, &[]);
    agent.pass(9, &[there.as_raw_fd()]);
    agent.pass(1, &[there.as_raw_fd(), there.as_raw_fd()]);
    agent.pass(1, &[there.as_raw_fd(); 5]);
    agent.say(&[1; 400]);
    drop(there);
    assert!(KcmClient::over(here).is_closed());
    assert_eq!(agent.connect().done(20, &[]), b"0\0");
    assert!(agent.daemon().ended().is_none());
}

#[track_caller]
fn wait_for_leaving(agent: &DoorAgent, connections: u64) {
    let message = wait_for("the wish to leave", SOON, || agent.heard());
    assert_eq!(message, [&[2][..], &connections.to_be_bytes()].concat());
}

fn an_idle_agent_without_caches_leaves_when_it_is_let_go(shared: &Shared) {
    let site = quick_site(shared);
    let mut agent = DoorAgent::start(&site);
    let mut client = agent.connect();
    initialize(&mut client, "0");
    client.done(5, &named("0", &[]));
    wait_for_leaving(&agent, 1);
    assert!(client.is_closed());
    // One that was under way is served.
    assert_eq!(agent.connect().done(20, &[]), b"0\0");
    wait_for_leaving(&agent, 2);
    assert!(agent.daemon().ended().is_none());
    let mut daemon = agent.close_door();
    let status = wait_for("the agent's end", SOON, || daemon.ended());
    assert!(status.success(), "{status}");
}

fn an_agent_with_a_cache_stays(shared: &Shared) {
    let site = quick_site(shared);
    let mut agent = DoorAgent::start(&site);
    let mut client = agent.connect();
    initialize(&mut client, "0");
    // Long after it could have left, its connection is closed and its cache is there.
    assert!(client.is_closed());
    let mut another = agent.connect();
    assert!(another.is_closed());
    assert_eq!(agent.connect().done(8, &named("0", &[])), principal("alice"));
    assert!(agent.heard().is_none() && agent.daemon().ended().is_none());
}

fn without_the_door_open_connections_are_served_to_their_end(shared: &Shared) {
    let site = Site::new(shared.realm());
    let agent = DoorAgent::start(&site);
    let mut client = agent.connect();
    initialize(&mut client, "0");
    let mut daemon = agent.close_door();
    site.log.wait_for_words(&["lgss_kcm has closed the door"]);
    assert_eq!(client.done(8, &named("0", &[])), principal("alice"));
    drop(client);
    let status = wait_for("the agent's end", SOON, || daemon.ended());
    assert!(status.success(), "{status}");
    site.log.wait_for_words(&["caches that were in memory are lost: 1"]);
}

fn a_socket_of_systemds_is_served_until_all_is_idle(shared: &Shared) {
    let site = quick_site(shared);
    install(agent_program(), &site.path("lgss_agent"), 0o711);
    let listener = UnixListener::bind(site.path("passed")).unwrap();
    let mut program = command_as(site.uid(), "sh");
    program.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" 3<&0 </dev/null", "sh"]);
    program.arg(site.path("lgss_agent")).arg("--config").arg(site.path("lgss.toml"));
    site.open_log();
    let given = Stdio::from(std::os::fd::OwnedFd::from(listener));
    let mut daemon = Daemon::start_given(program, given, &site.path(""), "agent.log");
    // Root is another user.
    assert!(KcmClient::over(UnixStream::connect(site.path("passed")).unwrap()).is_closed());
    site.log.wait_for_words(&["a connection of uid 0 is closed"]);
    let status = wait_for("the agent's end", SOON, || daemon.ended());
    assert!(status.success(), "{status}");
}

fn a_socket_that_a_dead_agent_has_left_is_replaced_and_a_live_ones_is_not(shared: &Shared) {
    let site = Site::new(shared.realm());
    let socket = site.path("user").join("kcm.socket");
    install(agent_program(), &site.path("lgss_agent"), 0o711);
    drop(Kcm::start_agent(&site));
    assert!(socket.exists());
    let kcm = Kcm::start_agent(&site);
    let mut second = command_as(site.uid(), site.path("lgss_agent"));
    second.arg("--config").arg(site.path("lgss.toml")).arg("--socket").arg(&socket);
    let refused = run(&mut second, "").unwrap_err();
    assert!(refused.contains("a server has it already"), "{refused}");
    assert!(UnixStream::connect(&socket).is_ok());
    drop(kcm);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "mine").unwrap();
    let refused = run(&mut second, "").unwrap_err();
    assert!(refused.starts_with("exit status: 1") && fs::read(&socket).unwrap() == b"mine", "{refused}");
}

fn root_is_refused_and_misuse_is_named(shared: &Shared) {
    let site = Site::new(shared.realm());
    install(agent_program(), &site.path("lgss_agent"), 0o711);
    let socket = site.path("kcm.socket");
    let mut roots = command(site.path("lgss_agent"));
    let refused = run(roots.arg("--socket").arg(&socket), "").unwrap_err();
    assert!(refused.contains("not as root") && !socket.exists(), "{refused}");
    let as_user = |words: &[&str]| {
        let mut program = command_as(site.uid(), site.path("lgss_agent"));
        run(program.args(words), "").unwrap_err()
    };
    for (words, said) in [
        (&["--door", "7", "--for-uid", "0"][..], "exit status: 1: lgss_agent: descriptor 7"),
        (&["--door", "0"], "exit status: 1: lgss_agent: descriptor 0"),
        (&["--door", "3", "--for-uid", "1"], "exit status: 1: lgss_agent: --for-uid 1"),
        (&[], "exit status: 2: lgss_agent: without --socket or --door"),
        (
            &["--frobnicate"],
            "exit status: 2: lgss_agent: \"--frobnicate\" is no option; see lgss_agent --help",
        ),
    ] {
        let refused = as_user(words);
        assert!(refused.starts_with(said), "{words:?}: {refused}");
    }
}

fn the_process_has_no_rights_leaves_no_core_and_is_confined(shared: &Shared) {
    let site = Site::new(shared.realm());
    let mut agent = DoorAgent::start(&site);
    initialize(&mut agent.connect(), "0");
    let proc = format!("/proc/{}", agent.daemon().pid());
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().trim().to_owned()
    };
    let uid = site.uid().to_string();
    assert!(field("Uid").split_whitespace().all(|id| id == uid) && field("Groups").is_empty(), "{status}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"));
    assert_ne!(field("VmLck"), "0 kB");
    let limits = fs::read_to_string(format!("{proc}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().filter(|word| *word == "0").count() == 2, "{core}");
    // Root's, as those of processes are that must not be traced by their user.
    assert_eq!(fs::metadata(format!("{proc}/mem")).unwrap().uid(), 0);
    let open: Vec<_> = fs::read_dir(format!("{proc}/fd")).unwrap().flatten().collect();
    let places = open.iter().map(|entry| fs::read_link(entry.path()).unwrap().display().to_string());
    for place in places {
        let known = ["/dev/null", "socket:", "anon_inode:", &site.path("").display().to_string()];
        assert!(known.iter().any(|known| place.starts_with(known)), "{place}");
    }
}
