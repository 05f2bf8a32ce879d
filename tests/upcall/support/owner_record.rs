//! The upcall's record of an owner whose requests fail, in `run/owners/`: `failures last until broken …`.

use super::site::Site;
use super::wait::wait_for;
use std::fs;
use std::time::Duration;

/// Times since boot.
pub(crate) struct OwnerRecord {
    /// Of the last failure.
    pub(crate) last: Duration,
    /// The end of the pause.
    pub(crate) until: Duration,
    /// When a request last broke the pause.
    pub(crate) broken: Duration,
}

impl OwnerRecord {
    /// The record of the site's user.
    #[track_caller]
    pub(crate) fn of(site: &Site) -> Self {
        Self::read(site).expect("a record")
    }

    /// `None` while it is being written.
    fn read(site: &Site) -> Option<Self> {
        let text = fs::read_to_string(site.path(&format!("run/owners/uid-{}", site.uid()))).unwrap();
        let mut fields = text.split(' ').skip(1);
        let mut time = || Some(Duration::from_millis(fields.next()?.parse().ok()?));
        Some(Self { last: time()?, until: time()?, broken: time()? })
    }
}

/// Waits until a request with `anew` may break the pause of the site's user, which is a second after the last failure.
#[track_caller]
pub(crate) fn wait_until_breakable(site: &Site) {
    wait_for("a pause that may be broken", Duration::from_secs(20), || {
        let record = OwnerRecord::read(site)?;
        (since_boot() > record.last + Duration::from_secs(1)).then_some(())
    });
}

/// The clock that the record uses.
pub(crate) fn since_boot() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap().into()
}
