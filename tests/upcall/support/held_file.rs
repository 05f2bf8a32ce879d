//! A program of a user's that locks or leases a file and keeps it so.

use super::process::{Daemon, command_as};
use super::site::Site;
use super::wait::wait_for;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Calls fcntl(2) on the file in the first argument, then does nothing for a long time.
const HOLDER: &str = r#"
use strict; use warnings;
$SIG{IO} = 'IGNORE';
my ($path, $how) = @ARGV;
my $mode = $how eq 'read-lease' ? '<' : '+<';
open(my $file, $mode, $path) or die "open: $!";
my $lock = sub { pack('s s x4 q q i x4', $_[0], 0, 0, 0, 0) };
my %do = (
    'write-lock' => sub { fcntl($file, 6, $lock->(1)) },
    'read-lock' => sub { fcntl($file, 6, $lock->(0)) },
    'write-lease' => sub { fcntl($file, 1024, 1) },
    'read-lease' => sub { fcntl($file, 1024, 0) },
);
$do{$how}->() or die "$how: $!";
$| = 1; print "held\n"; sleep 600;
"#;

/// A process of the user that holds the file until it is dropped.
pub(crate) fn hold(site: &Site, path: &Path, how: &str) -> Daemon {
    hold_by(command_as(site.uid(), "env"), site, path, how)
}

/// The same, started by this command.
pub(crate) fn hold_by(mut starter: Command, site: &Site, path: &Path, how: &str) -> Daemon {
    starter.args(["perl", "-e", HOLDER]).arg(path).arg(how);
    let output = format!("holder-{how}");
    let mut daemon = Daemon::start(starter, &site.path(""), &output);
    wait_for("the file to be held", Duration::from_secs(20), || {
        let told = fs::read_to_string(site.path(&output)).unwrap_or_default();
        assert!(daemon.ended().is_none(), "{told}");
        told.contains("held").then_some(())
    });
    daemon
}
