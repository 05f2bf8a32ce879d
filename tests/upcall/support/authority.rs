//! A certification authority of one test's own, by openssl(1).

use super::process::{command, succeed};
use std::fs;
use std::path::{Path, PathBuf};

/// Its files are in the test's directory.
#[derive(Debug)]
pub(crate) struct Authority {
    directory: PathBuf,
}

impl Authority {
    #[track_caller]
    pub(crate) fn new(directory: PathBuf) -> Self {
        fs::create_dir(&directory).unwrap();
        let authority = Self { directory };
        authority.certify("authority", "basicConstraints = critical, CA:TRUE\n", &[]);
        authority
    }

    /// Its own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.path("authority.pem")
    }

    /// Issues a certificate with these extensions, in openssl(1)'s configuration syntax. Returns the files of certificate and
    /// key; anybody may read them.
    #[track_caller]
    pub(crate) fn issue(&self, name: &str, extensions: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (self.certificate(), self.path("authority.key"));
        self.certify(name, extensions, &["-CA".as_ref(), &certificate, "-CAkey".as_ref(), &key])
    }

    #[track_caller]
    fn certify(&self, name: &str, extensions: &str, issuer: &[&Path]) -> (PathBuf, PathBuf) {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        let configuration = self.path(&format!("{name}.cnf"));
        let sections = "[req]\ndistinguished_name = subject\n[subject]\n[extensions]\n";
        fs::write(&configuration, format!("{sections}{extensions}")).unwrap();
        let mut openssl = command("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2", "-subj"]);
        openssl.arg(format!("/CN={name}")).args(["-extensions", "extensions", "-config"]).arg(&configuration);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).args(issuer);
        succeed(&mut openssl, "");
        // openssl(1) makes keys for their owner alone.
        succeed(command("chmod").arg("0644").arg(&key), "");
        (certificate, key)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The extensions by which a certificate stands for a principal in PKINIT (RFC 4556), with this purpose.
pub(crate) fn stands_for(principal: &[&str], realm: &str, purpose: PkinitPurpose) -> String {
    let parts: String =
        principal.iter().enumerate().map(|(n, part)| format!("part{n} = GeneralString:{part}\n")).collect();
    format!(
        "keyUsage = critical, digitalSignature\nextendedKeyUsage = {}\n\
         subjectAltName = otherName:1.3.6.1.5.2.2;SEQUENCE:principal\n\
         [principal]\nrealm = EXP:0, GeneralString:{realm}\nname = EXP:1, SEQUENCE:name\n\
         [name]\nkind = EXP:0, INTEGER:1\nparts = EXP:1, SEQUENCE:parts\n[parts]\n{parts}",
        match purpose {
            PkinitPurpose::Client => "1.3.6.1.5.2.3.4",
            PkinitPurpose::Kdc => "1.3.6.1.5.2.3.5",
        }
    )
}

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PkinitPurpose {
    /// To get initial tickets.
    Client,
    /// To issue them.
    Kdc,
}
