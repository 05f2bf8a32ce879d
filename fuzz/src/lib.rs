//! The checks that each fuzz target consists of (docs/fuzzing.md). Used by the targets here, and over their corpora by
//! tests/corpora.rs.

use lgss::private_to_lgss::fuzz::{
    agent, cli, config, creds, crypto, ctx, gss, identity, key, negotiate, provider, rpc, selftest, sk_tool,
    upcall,
};

/// Panics if what must hold for these bytes does not.
pub type Check = fn(&[u8]);

/// Name and checks of each target. Where there are several checks, the first byte of an input chooses one, by its rest
/// after division.
pub const TARGETS: [(&str, &[Check]); 25] = [
    (
        "cache_files",
        &[
            creds::file_shape,
            creds::library_cache,
            creds::credential_key,
            creds::primary_key,
            creds::ticket_key,
        ],
    ),
    ("cache_names", &[creds::cache_name, creds::tokens]),
    ("helper", &[provider::requests, provider::answers, provider::log_lines]),
    ("init_channel", &[negotiate::init_channel]),
    ("kcm", &[agent::kcm_requests, agent::kcm_request, agent::credential, agent::stored]),
    ("krb5_conf", &[gss::krb5_conf, creds::krb5_conf]),
    (
        "libkrb5",
        &[creds::library_cache, gss::keytab, gss::krb5_conf, gss::server_token, gss::principal, gss::trace],
    ),
    ("mic_tokens", &[crypto::mic]),
    ("monitor_messages", &[negotiate::from_monitor]),
    ("payloads", &[ctx::user_payload, upcall::reported_context]),
    (
        "proc_keys",
        &[
            key::auth_line,
            key::description,
            identity::key_users,
            ctx::key_serials,
            sk_tool::key_times,
            creds::rings,
            cli::key_quotas,
        ],
    ),
    (
        "proc_task",
        &[
            identity::status,
            identity::syscall,
            identity::uid_map,
            upcall::cgroup,
            creds::environment,
            creds::mounts,
            cli::mounts,
            sk_tool::mounts,
            identity::own_status,
        ],
    ),
    ("requests", &[ctx::callout, ctx::description, ctx::lustre_callout, ctx::lustre_description]),
    ("rpc", &[negotiate::rpc_record, negotiate::rpc_reply, negotiate::rpc_call]),
    ("rpc_gss_replies", &[rpc::replies]),
    ("rules", &[cli::rules, cli::patterns]),
    (
        "run_files",
        &[
            upcall::failure_record,
            upcall::line_record,
            upcall::remembered,
            upcall::machine_state,
            identity::owners,
        ],
    ),
    ("settings", &[config::settings, config::nid]),
    ("shared_keys", &[creds::shared_key, creds::shared_key_names, sk_tool::arguments]),
    ("sk_tokens", &[negotiate::netstrings, negotiate::responder_token]),
    ("texts", &[cli::texts]),
    ("user_files", &[creds::passwd, identity::passwd, creds::identities]),
    ("words", &[upcall::words]),
    (
        "worker_messages",
        &[negotiate::from_worker, creds::source_list, selftest::worker_report, cli::progress],
    ),
    ("wrap_tokens", &[crypto::wrap]),
];

/// Runs the target's check that the input chooses.
pub fn check(target: &str, input: &[u8]) {
    let checks = TARGETS.iter().find(|(name, _)| *name == target).map_or(&[][..], |(_, checks)| checks);
    match (checks, input.split_first()) {
        ([], _) => panic!("there is no target {target}"),
        ([only], _) => only(input),
        (several, Some((choice, rest))) => several[usize::from(*choice) % several.len()](rest),
        (_, None) => {}
    }
}
