//! Real parts for the tests: a realm, servers, an installation of the upcall, requesters.
//!
//! Invariant: a guard holds whatever a test starts or creates, and removes it on drop. Its janitor (main.rs) or the
//! next run removes what a killed run left.

pub(crate) mod acceptor;
pub(crate) mod agent;
pub(crate) mod authority;
pub(crate) mod blows;
pub(crate) mod cache_file;
pub(crate) mod cgroup;
pub(crate) mod chosen;
pub(crate) mod command_line;
pub(crate) mod crowd;
pub(crate) mod dns;
pub(crate) mod followed_fork;
pub(crate) mod forged_lines;
pub(crate) mod fuse;
pub(crate) mod ganesha;
pub(crate) mod held_file;
pub(crate) mod hook_place;
pub(crate) mod janitor;
pub(crate) mod kcm;
pub(crate) mod kcm_model;
pub(crate) mod kdc_proxy;
pub(crate) mod kept_caches;
pub(crate) mod keyring_lock;
pub(crate) mod keys;
pub(crate) mod leftovers;
pub(crate) mod link_map;
pub(crate) mod local_kcm;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod machine;
pub(crate) mod many_caches;
pub(crate) mod marks;
pub(crate) mod netns;
pub(crate) mod node;
pub(crate) mod nscd;
pub(crate) mod operators;
pub(crate) mod outcome;
pub(crate) mod owner_record;
pub(crate) mod peak_memory;
pub(crate) mod persistent;
pub(crate) mod ports;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod realm;
pub(crate) mod rpc;
pub(crate) mod scratch;
pub(crate) mod server;
pub(crate) mod setuid;
pub(crate) mod shared;
pub(crate) mod site;
pub(crate) mod spying;
pub(crate) mod wait;
pub(crate) mod waiting;
pub(crate) mod writers;
