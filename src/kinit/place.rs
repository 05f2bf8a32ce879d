//! Where the tickets go: a cache of a collection in a keyring.

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::arguments::KinitArguments;
use super::collection_ring::{self, CollectionRing};
use super::failure::KinitFailure;
use super::values::KeyringWord;
use crate::creds::cache_name::CacheName;
use crate::gss::krb5::Library;
use crate::gss::principal::Krb5Principal;
use crate::gss::private_cache::PrivateCache;
use crate::gss::status::Krb5Error;
use crate::gss::ticket::Cache;
use crate::key::KeyDescription;
use crate::sys::keyctl;

/// Before the residual of a name.
const KEYRING: &str = "KEYRING:";

/// What a session keyring gives to others than its possessor, but for the right to see it and to list what is in it.
const OTHERS: u32 = 0x003c_3f3f;

/// Where tickets go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TicketPlace {
    /// This cache, whatever is in it.
    Cache(String),
    /// The client's cache in this collection.
    Collection(String),
}

/// Whether the cache becomes its collection's primary one, which other programs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Primary {
    Becomes,
    /// It stays which it is.
    Stays,
}

/// How the place was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chosen {
    ByName,
    ByDefault,
}

impl TicketPlace {
    /// What the command line says, else what KRB5CCNAME or krb5.conf says if that is a keyring, else the session keyring.
    pub(super) fn named(arguments: &KinitArguments, library: &Library) -> Self {
        match (&arguments.cache, arguments.keyring) {
            (Some(name), _) => Self::Cache(name.clone()),
            (None, Some(keyring)) => Self::Collection(keyring.collection()),
            (None, None) => Self::by_default(library),
        }
    }

    /// Where tickets go unless the command line says where. To be read only, until it is prepared.
    pub(super) fn by_default(library: &Library) -> Self {
        match library.default_cache() {
            default if is_one_of_a_collection(&default) => Self::Cache(default),
            default if default.starts_with(KEYRING) => Self::Collection(default),
            _ => Self::Collection(KeyringWord::Session.collection()),
        }
    }

    /// The place that is named, ready for tickets.
    ///
    /// It is from now on the library's default cache.
    pub(super) fn choose(arguments: &KinitArguments, library: &Library) -> Result<Self, KinitFailure> {
        let place = Self::named(arguments, library);
        let is_named = arguments.cache.is_some() || arguments.keyring.is_some();
        place.check(if is_named { Chosen::ByName } else { Chosen::ByDefault })?;
        place.prepared(library)
    }

    /// Makes it the library's default one, though nothing is stored there.
    ///
    /// # Errors
    /// The library's.
    pub(super) fn be_looked_at(&self, library: &Library) -> Result<(), KinitFailure> {
        let name = self.name();
        library.set_default_cache(name).map_err(|error| KinitFailure::Place { name: name.to_owned(), error })
    }

    /// The session keyring that has just begun.
    pub(super) fn in_the_session(
        arguments: &KinitArguments,
        library: &Library,
    ) -> Result<Self, KinitFailure> {
        let place = match &arguments.cache {
            Some(name) => Self::Cache(name.clone()),
            None => Self::Collection(KeyringWord::Session.collection()),
        };
        place.check(Chosen::ByName)?;
        place.prepared(library)
    }

    fn prepared(self, library: &Library) -> Result<Self, KinitFailure> {
        let place = self;
        // Before anybody is asked for a password.
        let opened = library.set_default_cache(place.name()).and_then(|()| place.ring());
        match opened.and_then(|_| place.open(library)) {
            Ok(_) => Ok(place),
            Err(error) => Err(KinitFailure::Place { name: place.name().to_owned(), error }),
        }
    }

    /// The library would take some names for others. A session keyring of somebody else's, as after su or sudo, would give away
    /// the tickets.
    fn check(&self, chosen: Chosen) -> Result<(), KinitFailure> {
        if !is_plain(self.name()) {
            return Err(KinitFailure::Name(self.name().to_owned()));
        }
        if self.anchor() != "session" || chosen == Chosen::ByName {
            return Ok(());
        }
        check_session(self.name())
    }

    /// The collection's keyring, prepared.
    fn ring(&self) -> Result<Option<CollectionRing>, Krb5Error> {
        let name = self.name().parse().map_err(|_| Krb5Error::of_kernel(Errno::EINVAL))?;
        CollectionRing::prepare(&name).map_err(Krb5Error::of_kernel)
    }

    /// The name for KRB5CCNAME.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Cache(name) | Self::Collection(name) => name,
        }
    }

    /// The cache that other programs would use: the collection's primary one.
    pub(super) fn open(&self, library: &Library) -> Result<Cache, Krb5Error> {
        Cache::resolve(library, self.name())
    }

    /// Stores all that `new` has. Returns the cache's name.
    pub(super) fn store(
        &self,
        library: &Library,
        new: &PrivateCache,
        primary: Primary,
    ) -> Result<String, KinitFailure> {
        self.try_store(library, new, primary).map_err(|error| self.refused(error))
    }

    fn try_store(
        &self,
        library: &Library,
        new: &PrivateCache,
        primary: Primary,
    ) -> Result<String, Krb5Error> {
        // First, so that the library finds this one.
        let ring = self.ring()?;
        let cache = match self {
            Self::Cache(_) => self.open(library)?,
            Self::Collection(_) => self.cache_for(library, &new.open()?.principal()?)?,
        };
        let name = cache.full_name()?;
        let is_new = cache.principal().is_err();
        self.fill(library, ring, &cache, new)?;
        if matches!(self, Self::Collection(_))
            && primary == Primary::Becomes
            && let Err(error) = cache.switch_to()
        {
            if is_new {
                cache.destroy();
            }
            return Err(error);
        }
        Ok(name)
    }

    /// In one step if there is room for old and new tickets.
    fn fill(
        &self,
        library: &Library,
        ring: Option<CollectionRing>,
        cache: &Cache,
        new: &PrivateCache,
    ) -> Result<(), Krb5Error> {
        let name = cache.full_name()?;
        let Some(ring) = ring else { return cache.replace_by(new) };
        match ring.put(library, name.rsplit(':').next().unwrap_or_default(), new) {
            Err(error) if error.code == libc::EDQUOT && collection_ring::has_some_room() => {
                // Whatever has become of both meanwhile.
                self.ring()?;
                collection_ring::drop_ended(&name);
                Cache::resolve(library, &name)?.replace_by(new)
            }
            done => done,
        }
    }

    /// The client's own cache, else the primary one if nobody has it, else a new one: no other client's tickets are lost.
    fn cache_for(&self, library: &Library, client: &Krb5Principal) -> Result<Cache, Krb5Error> {
        if let Some(own) = library.cache_of(client)? {
            return Ok(own);
        }
        let primary = self.open(library)?;
        if primary.principal().is_ok() { library.new_cache() } else { Ok(primary) }
    }

    fn refused(&self, error: Krb5Error) -> KinitFailure {
        KinitFailure::Store { name: self.name().to_owned(), error }
    }

    /// Whether it is there when this program has ended.
    pub(super) fn outlives_us(&self) -> bool {
        !matches!(self.anchor(), "process" | "thread")
    }

    /// Which keyring it is in, in a word.
    pub(super) fn anchor(&self) -> &str {
        anchor_of(self.name())
    }

    /// What somebody should know about this place.
    pub(super) fn remark(&self) -> Option<String> {
        remark_on(self.name())
    }

    /// The client's own cache: the one that is named, if it is the client's, or one of the collection.
    ///
    /// # Errors
    /// The library's.
    pub(super) fn cache_of(
        &self,
        library: &Library,
        client: &Krb5Principal,
    ) -> Result<Option<Cache>, Krb5Error> {
        match self {
            Self::Cache(_) => {
                let cache = self.open(library)?;
                let is_its = cache.principal().is_ok_and(|owner| owner.name() == client.name());
                Ok(is_its.then_some(cache))
            }
            Self::Collection(_) => library.cache_of(client),
        }
    }

    /// Makes the client's cache the collection's primary one. A named cache stays as it is.
    pub(super) fn lead_to(&self, library: &Library, client: &Krb5Principal) -> Result<(), KinitFailure> {
        match self {
            Self::Cache(_) => Ok(()),
            Self::Collection(_) => library
                .cache_of(client)
                .and_then(|cache| cache.map_or(Ok(()), |cache| cache.switch_to()))
                .map_err(|error| self.refused(error)),
        }
    }
}

/// What somebody should know about a cache or collection of this name.
pub(super) fn remark_on(name: &str) -> Option<String> {
    match anchor_of(name) {
        anchor @ ("process" | "thread") => {
            Some(format!("the {anchor} keyring, and the tickets in it, end with lgss_kinit"))
        }
        "session" => {
            let session = KeyDescription::read(keyctl::describe(keyctl::SESSION_KEYRING).ok()?).ok()?;
            if session.description.starts_with(b"_uid_ses.") {
                let said = "this login has no session keyring of its own: all processes of this user that have none share \
                            these tickets (pam_keyinit, or --new-session, makes one)";
                Some(said.to_owned())
            } else {
                let is_open = session.permissions & OTHERS != 0;
                is_open.then(|| {
                    "other sessions of this user can link this session keyring, as one that was begun by a name, and share \
                     these tickets (--new-session begins one without a name)"
                        .to_owned()
                })
            }
        }
        _ => None,
    }
}

/// Refuses a session keyring of another user's, whose processes would have what is stored there as `name`.
pub(super) fn check_session(name: &str) -> Result<(), KinitFailure> {
    match keyctl::describe(keyctl::SESSION_KEYRING).and_then(KeyDescription::read) {
        Ok(session) if session.uid == geteuid().as_raw() => Ok(()),
        Ok(session) => Err(KinitFailure::ForeignSession(session.uid)),
        Err(errno) => Err(KinitFailure::Place { name: name.to_owned(), error: Krb5Error::of_kernel(errno) }),
    }
}

/// Whether the library takes the name for what it says: two or three parts, a persistent keyring by its uid.
fn is_plain(name: &str) -> bool {
    let Some(residual) = name.strip_prefix(KEYRING) else { return false };
    let parts: Vec<&str> = residual.split(':').collect();
    let is_uid = |text: &str| text.parse::<u32>().is_ok_and(|uid| uid.to_string() == text);
    name.parse::<CacheName>().is_ok()
        && matches!(parts.len(), 2 | 3)
        && parts.iter().all(|part| !part.is_empty() && !part.contains([';', char::REPLACEMENT_CHARACTER]))
        && (anchor_of(name) != "persistent" || parts.get(1).is_some_and(|uid| is_uid(uid)))
}

/// The word after `KEYRING:`.
fn anchor_of(name: &str) -> &str {
    name.strip_prefix(KEYRING).and_then(|residual| residual.split(':').next()).unwrap_or_default()
}

/// Whether the name has one part more than a collection's, `KEYRING:anchor:collection:cache`.
fn is_one_of_a_collection(name: &str) -> bool {
    name.strip_prefix(KEYRING).is_some_and(|residual| residual.split(':').count() > 2)
}

#[cfg(test)]
mod tests {
    use super::{is_one_of_a_collection, is_plain};

    #[test]
    fn names_that_the_library_takes_for_others_are_not_plain() {
        for name in
            ["KEYRING:session:krb5", "KEYRING:user:krb5:a", "KEYRING:persistent:0", "KEYRING:thread:x"]
        {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "KEYRING:krb5",
            "KEYRING:",
            "KEYRING:legacy:krb5",
            "KEYRING:session:",
            "KEYRING:session::a",
            "KEYRING:session:krb5:",
            "KEYRING:session:a:b:c",
            "KEYRING:session:a;b",
            "KEYRING:session:\u{fffd}",
            "KEYRING:persistent:00",
            "KEYRING:persistent:-1",
            "KEYRING:persistent:alice",
            "FILE:/tmp/x",
        ] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn one_cache_of_a_collection_is_told_from_the_collection() {
        for (name, is_one) in [
            ("KEYRING:session:krb5", false),
            ("KEYRING:persistent:1000", false),
            ("KEYRING:session:krb5:tkt", true),
            ("KEYRING:persistent:1000:1000", true),
            ("FILE:/a:b:c", false),
        ] {
            assert_eq!(is_one_of_a_collection(name), is_one, "{name}");
        }
    }
}
