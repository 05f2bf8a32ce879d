//! liblgss, and programs that use it.

use super::process::{command, command_as, succeed};
use super::server::Target;
use super::site::{Site, install};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Where liblgss.so and lgss.h are: what `LGSS_C_DIR` names, else target/dist, where they are built first.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        if let Some(directory) = std::env::var_os("LGSS_C_DIR") {
            return directory.into();
        }
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        succeed(command(here.join("scripts/build")).arg("--c"), "");
        here.join("target/dist")
    })
}

/// A program of C source, below the package's directory, that a user runs.
pub(crate) fn c_program(site: &Site, source: &str) -> PathBuf {
    let program = site.path(Path::new(source).file_stem().unwrap().to_str().unwrap());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let mut cc = command("cc");
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pthread"]).arg("-I").arg(directory());
    cc.arg("-o").arg(&program).arg(source).arg("-L").arg(directory()).arg("-llgss");
    succeed(&mut cc, "");
    program
}

/// Runs a program that uses the library, as the site's user in a session of its own.
pub(crate) fn run_with_library(site: &Site, program: &[&Path], target: &Target, words: &[&str]) -> Output {
    let library = site.path("liblgss.so.0");
    if !library.exists() {
        install(directory().join("liblgss.so.0"), &library, 0o644);
    }
    let mut command: Command = command_as(site.uid(), "/usr/bin/keyctl");
    command.args(["session", "-"]).args(program).args([&target.service, &target.channel()]).args(words);
    command.env("LD_LIBRARY_PATH", library.parent().unwrap()).output().unwrap()
}
