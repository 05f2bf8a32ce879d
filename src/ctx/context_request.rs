//! What a program asks for: one value that becomes the description and the callout of a key.

use std::ffi::CString;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use nix::unistd::geteuid;

use super::initiator::Principal;
use super::preference::Preference;
use super::request::{
    Callout, Description, Level, Mechanism, OnPause, Owner, RequestError, RpcChannel, Service,
};

/// A context with a service: with whom, over which channel, and optionally how. New fields may come: build one from
/// [`ContextRequest::new`]. Written for the upcall, it may have 1023 bytes ([`CALLOUT_LIMIT`](super::CALLOUT_LIMIT)).
///
/// ```
/// use lgss::ctx::{ContextRequest, Level};
///
/// let service = "nfs@srv.example.test".parse()?;
/// let channel = "rpc:srv.example.test:2049,100003,4".parse()?;
/// let request = ContextRequest { level: Level::Privacy, ..ContextRequest::new(service, channel) };
/// # Ok::<(), lgss::ctx::RequestError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextRequest {
    /// With which service.
    pub service: Service,
    /// How tokens reach the server.
    pub channel: RpcChannel,
    /// Which protection the context is to offer; authentication unless said otherwise.
    pub level: Level,
    /// Distinguishes contexts of one user with one service: 1 to 128 bytes of printable ASCII.
    pub instance: Option<String>,
    /// The one credential cache to use, as `TYPE:name`: at most 512 bytes of printable ASCII without `;`. Without it the
    /// upcall chooses among the user's caches.
    pub cache: Option<String>,
    /// What to prefer among the user's caches, in place of the caller's `KRB5CCNAME` as it is now.
    pub prefer: Option<Preference>,
    /// The one principal that the context may speak for.
    pub principal: Option<Principal>,
    /// Upper bound of the context's lifetime: whole seconds, from 1 to `u32::MAX`.
    pub ttl: Option<Duration>,
    /// What the request does during a pause that the user's requests have after failures.
    pub on_pause: OnPause,
}

impl ContextRequest {
    /// With the defaults for everything else.
    pub fn new(service: Service, channel: RpcChannel) -> Self {
        Self {
            service,
            channel,
            level: Level::default(),
            instance: None,
            cache: None,
            prefer: None,
            principal: None,
            ttl: None,
            on_pause: OnPause::default(),
        }
    }

    /// The name of the context's key as [`request_into`](super::client::request_into) and
    /// [`request_shared`](super::client::request_shared) use it; [`request`](super::client::request) adds an instance. It holds the calling user, the service and the instance, and nothing else: a
    /// context is found whatever its channel, its level and its cache were.
    pub fn description(&self) -> Description {
        Description { owner: calling_user(), service: self.service.clone(), instance: self.instance.clone() }
    }

    /// The same, with the caller's `KRB5CCNAME` as it is now as what it prefers, if it names nothing else and there is room.
    pub(crate) fn as_by_caller(&self) -> Self {
        let with = Self { prefer: Preference::of_caller(), ..self.clone() };
        let names_none = self.cache.is_none() && self.prefer.is_none();
        if names_none && with.callout_text(None).is_ok() { with } else { self.clone() }
    }

    fn callout(&self, prefer: Option<Preference>) -> Callout {
        Callout {
            mechanism: Mechanism::Krb5,
            service: self.service.clone(),
            channel: self.channel.clone(),
            level: self.level,
            cache: self.cache.clone(),
            prefer,
            ttl: self.ttl,
            principal: self.principal.clone(),
            on_pause: self.on_pause,
        }
    }

    /// The callout's text. It tells the caller's `KRB5CCNAME`, if there is room and no cache is named: the upcall sees
    /// only the environment that the program was started with, and none of a program that has ended by then.
    pub(super) fn callout_text(&self, caller: Option<Preference>) -> Result<CString, RequestError> {
        let plain = exact_text(&self.callout(self.prefer.clone()))?;
        if self.cache.is_some() || self.prefer.is_some() || caller.is_none() {
            return Ok(plain);
        }
        Ok(exact_text(&self.callout(caller)).unwrap_or(plain))
    }
}

/// The text of `value`, if it parses as `value` again: a field that holds a separator would become two.
pub(super) fn exact_text<T>(value: &T) -> Result<CString, RequestError>
where
    T: fmt::Display + FromStr<Err = RequestError> + PartialEq,
{
    let text = value.to_string();
    if text.parse::<T>()? != *value {
        return Err(RequestError::Unwritable);
    }
    CString::new(text).map_err(|_| RequestError::NotPrintable)
}

/// The caller as owner of a context: its uid in the initial user namespace, or [`Owner::Caller`] in a container with
/// mapped ids, which cannot know that uid.
pub(super) fn calling_user() -> Owner {
    let identity = |map: &str| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    match std::fs::read_to_string("/proc/self/uid_map") {
        Ok(map) if identity(&map) => Owner::Uid(geteuid().as_raw()),
        _ => Owner::Caller,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cache: Option<&str>) -> ContextRequest {
        let service = "nfs@srv.example.test".parse().unwrap();
        let channel = "rpc:srv.example.test:2049,100003,4".parse().unwrap();
        let cache = cache.map(str::to_owned);
        ContextRequest { level: Level::Integrity, cache, ..ContextRequest::new(service, channel) }
    }

    #[test]
    fn a_value_cannot_smuggle_a_field_into_the_callout() {
        let refused = |cache: &str| request(Some(cache)).callout_text(None).unwrap_err();
        assert_eq!(refused("FILE:/x;ttl=1"), RequestError::Unwritable);
        assert_eq!(refused("FILE:/x;level=p"), RequestError::Duplicate("level"));
        assert_eq!(refused(&"x".repeat(600)), RequestError::Malformed("cache"));
        assert_eq!(refused("FILE:/x\ny"), RequestError::NotPrintable);
        let odd = ContextRequest { ttl: Some(Duration::from_millis(1500)), ..request(None) };
        assert_eq!(odd.callout_text(None), Err(RequestError::Unwritable));
    }

    #[test]
    fn the_callers_cache_is_sent_where_the_request_names_none_and_there_is_room() {
        let text = |request: &ContextRequest, caller: Option<&str>| {
            let caller = caller.map(|name| Preference::Cache(name.to_owned()));
            request.callout_text(caller).unwrap().into_string().unwrap()
        };
        assert!(!text(&request(Some("FILE:/x")), Some("KCM:")).contains("prefer"));
        let plain = request(None);
        let without = text(&plain, None);
        assert_eq!(text(&plain, Some("KCM:")), format!("{without};prefer=KCM:"));
        let own = ContextRequest { prefer: Some(Preference::Nothing), ..plain.clone() };
        assert!(text(&own, Some("KCM:")).ends_with(";prefer=-"));
        // A long request leaves no room for it.
        let full = ContextRequest {
            principal: Principal::new(&"p".repeat(400)),
            service: format!("nfs@{}", "h".repeat(250)).parse().unwrap(),
            channel: format!("rpc:{}:2049,100003,4", "h".repeat(250)).parse().unwrap(),
            ..plain
        };
        assert!(text(&full, Some("KCM:")).contains("prefer"));
        assert_eq!(text(&full, Some(&"x".repeat(500))), text(&full, None));
    }
}
