//! Contexts that the program, as a server, has accepted.

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;

use lgss::crypto::enctype::Enctype;
use lgss::crypto::mic::KeyOrigin;
use lgss::ctx::{BaseKey, Context, Handle, SeqWindow};
use lgss::secret::Secret;

use crate::boundary::{borrowed, bytes, place, run};
use crate::codes::{LGSS_KEY_OF_INITIATOR, LGSS_SUBKEY_OF_ACCEPTOR};
use crate::context::CContext;
use crate::failure::{CError, Failure};
use crate::security::CSecurity;

/// A context that the program, as a server, has accepted: what its GSS library exports of it. Later versions may have more
/// members at the end; set all to zero first, and `size` to the size of this structure.
#[repr(C)]
#[derive(Debug)]
pub struct CAccepted {
    /// sizeof(lgss_accepted)
    pub size: usize,
    /// The key's bytes; they are copied.
    pub key: *const c_void,
    /// How many.
    pub key_size: usize,
    /// The name that the client has for the context; it is copied.
    pub handle: *const c_void,
    /// Its length.
    pub handle_size: usize,
    /// The number of the acceptor's next token.
    pub send_sequence: u64,
    /// The encryption type of the key, 17 to 20.
    pub enctype: u32,
    /// LGSS_KEY_OF_INITIATOR or LGSS_SUBKEY_OF_ACCEPTOR.
    pub key_origin: c_int,
    /// The sequence window, at least 1.
    pub window: u32,
    /// The end of the context in seconds since the epoch.
    pub endtime: u32,
}

/// The structure, if it is as long as ours at least: a program may have less memory there.
///
/// # Safety
/// `accepted` is NULL or leads to as many bytes as its first member says, which live for `'a` and that nobody changes meanwhile.
unsafe fn whole<'a>(accepted: *const CAccepted) -> Result<&'a CAccepted, Failure> {
    if accepted.is_null() {
        return Err(Failure::missing("accepted"));
    }
    // SAFETY: as demanded above; every version has this member.
    let size = unsafe { (&raw const (*accepted).size).read() };
    if size < mem::size_of::<CAccepted>() {
        return Err(Failure::argument("accepted", "its size is not that of the structure"));
    }
    // SAFETY: as demanded above, and it has the size.
    unsafe { borrowed(accepted, "accepted") }
}

impl CAccepted {
    /// # Safety
    /// Its pointers lead to so many bytes.
    unsafe fn context(&self) -> Result<Context, Failure> {
        // SAFETY: as demanded above.
        let (key, handle) = unsafe {
            (
                bytes(self.key, self.key_size, "accepted.key")?,
                bytes(self.handle, self.handle_size, "accepted.handle")?,
            )
        };
        let enctype = Enctype::try_from(self.enctype)
            .map_err(|why| Failure::argument("accepted.enctype", &why.to_string()))?;
        let base_key = BaseKey::new(enctype, Secret::new(key.to_vec()));
        let key_origin = match self.key_origin {
            LGSS_KEY_OF_INITIATOR => KeyOrigin::Initiator,
            LGSS_SUBKEY_OF_ACCEPTOR => KeyOrigin::AcceptorSubkey,
            _ => return Err(Failure::argument("accepted.key_origin", "nobody's")),
        };
        Ok(Context {
            window: SeqWindow::new(self.window)
                .ok_or_else(|| Failure::argument("accepted.window", "it is 0"))?,
            handle: Handle::new(handle)
                .ok_or_else(|| Failure::argument("accepted.handle", "it is empty or too long"))?,
            base_key: base_key
                .ok_or_else(|| Failure::argument("accepted.key", "it is not of this encryption type"))?,
            key_origin,
            endtime: self.endtime,
            send_sequence: self.send_sequence,
            initiator: None,
        })
    }
}

/// The other end of a context, for calls back to a client: signs as the acceptor. It is kept in memory, in no key.
///
/// Puts a reference into `*context`; the caller gives it back with lgss_context_free.
///
/// Errors: LGSS_EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lgss_install_reverse(
    security: *const CSecurity,
    accepted: *const CAccepted,
    context: *mut *mut CContext,
    error: *mut *mut CError,
) -> c_int {
    // SAFETY: the caller's pointers are as the header demands.
    unsafe {
        run(error, || {
            let given = place(context, ptr::null_mut(), "context")?;
            let security = &borrowed(security, "security")?.0;
            let accepted = whole(accepted)?.context()?;
            *given = CContext::given(security.install_reverse(accepted)?);
            Ok(())
        })
    }
}
