//! Principals in the format of file caches, version 4.

use crate::wire::{Reader, WireError};

/// The realm of entries that are no tickets, but settings of a cache.
const CONFIGURATION: &[u8] = b"X-CACHECONF:";

/// `u32 name type · u32 number of components · realm · components`; a text is `u32 length` and that many bytes. All
/// numbers are in network byte order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrincipalBytes<'a> {
    whole: &'a [u8],
    /// All but the name type, which does not tell principals apart.
    compared: &'a [u8],
    /// The components with their lengths.
    components: &'a [u8],
    realm: &'a [u8],
}

impl<'a> PrincipalBytes<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let whole = reader.passed_over(|reader| Self::parts(reader).map(drop))?;
        let (realm, components) = Self::parts(&mut Reader::new(whole))?;
        Ok(Self { whole, compared: whole.get(4..).unwrap_or_default(), components, realm })
    }

    fn parts(reader: &mut Reader<'a>) -> Result<(&'a [u8], &'a [u8]), WireError> {
        reader.take(4)?;
        let count = reader.u32_be()?;
        let realm = reader.opaque_be()?;
        // A count without components ends at the first that is not there.
        let components =
            reader.passed_over(|reader| (0..count).try_for_each(|_| reader.opaque_be().map(drop)))?;
        Ok((realm, components))
    }

    /// As it came.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.whole
    }

    /// Realm and components, by which principals are compared.
    pub(crate) fn compared(self) -> &'a [u8] {
        self.compared
    }

    /// Whether both name one principal.
    pub(crate) fn is(self, other: PrincipalBytes<'_>) -> bool {
        self.compared == other.compared
    }

    /// Whether both have the same components, whatever their realms are.
    pub(crate) fn has_name_of(self, other: PrincipalBytes<'_>) -> bool {
        self.components == other.components
    }

    /// Whether a credential for it is a setting of the cache (`krb5_cc_set_config`).
    pub(crate) fn is_configuration(self) -> bool {
        self.realm == CONFIGURATION
    }

    /// Whether it is the ticket-granting service of this client's own realm, `krbtgt/REALM@REALM` (RFC 4120 §7.3).
    pub(crate) fn grants_for(self, client: PrincipalBytes<'_>) -> bool {
        let mut reader = Reader::new(self.components);
        let mut next = || reader.opaque_be().ok();
        let is_granting = next() == Some(b"krbtgt") && next() == Some(client.realm) && next().is_none();
        is_granting && self.realm == client.realm
    }

    /// `name/instance@REALM`, for people; strangers' bytes are in it.
    pub(crate) fn shown(self) -> String {
        let mut reader = Reader::new(self.components);
        let parts = std::iter::from_fn(|| reader.opaque_be().ok().map(String::from_utf8_lossy));
        let name = parts.collect::<Vec<_>>().join("/");
        format!("{name}@{}", String::from_utf8_lossy(self.realm))
    }
}

#[cfg(test)]
mod tests {
    use super::super::credential::tests::principal;
    use super::*;

    fn read(bytes: &[u8]) -> PrincipalBytes<'_> {
        PrincipalBytes::read(&mut Reader::new(bytes)).unwrap()
    }

    #[test]
    fn a_name_type_does_not_tell_principals_apart_and_a_realm_does() {
        let (alice, mut typed) = (principal("alice@A"), principal("alice@A"));
        typed[3] = 9;
        let elsewhere = principal("alice@B");
        assert!(read(&alice).is(read(&typed)) && !read(&alice).is(read(&elsewhere)));
        assert!(read(&alice).has_name_of(read(&elsewhere)));
        // The boundary between components counts.
        assert!(!read(&principal("a/bc@A")).is(read(&principal("ab/c@A"))));
    }

    #[test]
    fn special_principals_are_recognised() {
        assert!(read(&principal("krb5_ccache_conf_data/x@X-CACHECONF:")).is_configuration());
        assert_eq!(read(&principal("nfs/srv.example.test@A")).shown(), "nfs/srv.example.test@A");
    }

    #[test]
    fn a_count_without_components_costs_nothing() {
        let mut bytes = principal("alice@A");
        bytes[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(PrincipalBytes::read(&mut Reader::new(&bytes)).is_err());
    }
}
