//! Makes Rust declarations of what `src/gss` uses of MIT Kerberos (feature `gss`); does nothing otherwise.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "gss")]
    mit::declare()?;
    Ok(())
}

#[cfg(feature = "gss")]
mod mit {
    use std::error::Error;
    use std::path::PathBuf;
    use std::process::Command;

    /// What the wrappers call; nothing else of the libraries gets into the program's reach.
    const FUNCTIONS: &[&str] = &[
        "gss_(import_name|canonicalize_name|release_name|release_buffer|acquire_cred_from|release_cred)",
        "gss_(init_sec_context|delete_sec_context|verify_mic|display_status)",
        "gss_krb5_((export|free)_lucid_sec_context|set_allowable_enctypes)",
        "krb5_(init|free)_context",
        "krb5_init_context_profile",
        "krb5_get_profile",
        "profile_(init|init_flags|release|get_string|release_string)",
        "krb5_((get|free|clear)_error_message|free_string)",
        "krb5_cc_(resolve|close|destroy|new_unique|initialize|store_cred|get_principal|get_full_name)",
        "krb5_cc_(start_seq_get|next_cred|end_seq_get|remove_cred)",
        "krb5_(free_cred_contents|free_creds|get_credentials)",
        "krb5_(sname_to_principal|free_principal|unparse_name|free_unparsed_name|parse_name|copy_principal)",
        "krb5_(is_config_principal|principal_compare|decode_ticket|free_ticket)",
        "krb5_(set_default_tgs_enctypes|get_permitted_enctypes|free_enctypes)",
        "krb5_(set_trace_callback|set_kdc_recv_hook|rd_error|free_error|get_time_offsets)",
        "krb5_(get|free)_default_realm",
        "krb5_(copy_creds|get_renewed_creds)",
        "krb5_cc_(copy_creds|set_default_name|get_type)",
        "krb5_cccol_cursor_(new|next|free)",
        "krb5_kt_(resolve|close|start_seq_get|next_entry|end_seq_get)",
        "krb5_free_keytab_entry_contents",
        "krb5_get_init_creds_(keytab|password)",
        "krb5_get_init_creds_opt_(alloc|free|set_etype_list|set_(in|out)_ccache|set_forwardable|set_proxiable)",
        "krb5_get_init_creds_opt_set_(tkt_life|renew_life|address_list|canonicalize|anonymous|fast_ccache_name)",
        "krb5_get_init_creds_opt_set_(pa|pac_request)",
        "krb5_(prompter_posix|get_validated_creds|os_localaddr|free_addresses)",
        "krb5_(string_to_deltat|string_to_timestamp|parse_name_flags)",
        "krb5_cc_(cache_match|switch|default_name)",
        "krb5_kt_(default|client_default)",
    ];
    const TYPES: &[&str] = &["gss_krb5_lucid_context_v1_t"];
    const VALUES: &[&str] = &[
        "gss_mech_krb5",
        "GSS_KRB5_NT_PRINCIPAL_NAME",
        "GSS_C_(MUTUAL|INTEG|CONF|DELEG)_FLAG",
        "GSS_C_(INITIATE|GSS_CODE|MECH_CODE)",
        "GSS_S_(COMPLETE|CONTINUE_NEEDED)",
        "KRB5_NT_(UNKNOWN|SRV_HST|SRV_INST|WELLKNOWN)",
        "KRB5_PRINCIPAL_PARSE_ENTERPRISE",
        "KRB5_TC_(MATCH_KTYPE|MATCH_TIMES_EXACT)",
        "KRB5_GC_NO_STORE",
        "KRB5(KDC|KRB_AP)_ERR_.*",
        "KRB5KDC_.*",
        "KRB5_(KDC_UNREACH|REALM_UNKNOWN|REALM_CANT_RESOLVE|KDCREP_SKEW|KDCREP_MODIFIED|ERR_HOST_REALM_UNKNOWN|CONFIG_NODEFREALM)",
        "KRB5_(PROG_ETYPE_NOSUPP|NOPERM_ETYPE|CONFIG_ETYPE_NOSUPP)",
        "KRB5_(FCC_NOFILE|CC_NOTFOUND|CC_NOT_KTYPE|CC_END)",
        "KRB5_KT_(END|NOTFOUND|KVNONOTFOUND)",
        "TKT_FLG_(INVALID|RENEWABLE)",
        "PROFILE_INIT_ALLOW_MODULE",
    ];

    /// Writes `mit.rs` to OUT_DIR and tells the linker what to link.
    pub(crate) fn declare() -> Result<(), Box<dyn Error>> {
        let mut builder = bindgen::builder()
            .header_contents(
                "mit.h",
                "#include <gssapi/gssapi.h>\n#include <gssapi/gssapi_krb5.h>\n#include <gssapi/gssapi_ext.h>\n#include <krb5.h>\n#include <profile.h>\n",
            )
            .rust_edition(bindgen::RustEdition::Edition2024)
            .layout_tests(false)
            .generate_comments(false)
            .derive_debug(false)
            .merge_extern_blocks(true)
            .clang_args(flags("--cflags"));
        for name in FUNCTIONS {
            builder = builder.allowlist_function(name);
        }
        for name in TYPES {
            builder = builder.allowlist_type(name);
        }
        for name in VALUES {
            builder = builder.allowlist_var(name);
        }
        let declarations = builder.generate().map_err(|error| {
            format!("headers of MIT Kerberos (Debian: libkrb5-dev) and libclang: {error}")
        })?;
        let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?);
        declarations.write_to_file(out.join("mit.rs"))?;
        link();
        Ok(())
    }

    fn link() {
        let flags = flags("--libs");
        for directory in flags.iter().filter_map(|flag| flag.strip_prefix("-L")) {
            println!("cargo:rustc-link-search=native={directory}");
        }
        // Not k5crypto, which pkg-config adds: nothing of it is called directly.
        for library in ["gssapi_krb5", "krb5", "com_err"] {
            println!("cargo:rustc-link-lib={library}");
        }
    }

    /// pkg-config's words, none where there is no pkg-config: then the compiler's own places have to do.
    fn flags(kind: &str) -> Vec<String> {
        Command::new("pkg-config")
            .args([kind, "mit-krb5-gssapi", "mit-krb5"])
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| {
                String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
            })
            .unwrap_or_default()
    }
}
