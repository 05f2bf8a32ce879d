//! Numbers that cross the boundary. Each keeps its value for ever; new ones may come.

use std::ffi::c_int;

/// An argument is NULL, or makes no sense.
pub const LGSS_EINVAL: c_int = -1;
/// The buffer is too small. Its size says what is needed; nothing has been done.
pub const LGSS_ERANGE: c_int = -2;
/// No context yet: the negotiation goes on.
pub const LGSS_EAGAIN: c_int = -3;
/// The negotiation failed: stage, cause, detail and remedy are in the error.
pub const LGSS_EFAILED: c_int = -4;
/// The request could not be made, or its key cannot be read.
pub const LGSS_EREQUEST: c_int = -5;
/// The context has no place to be kept: the user's quota of keys is full.
pub const LGSS_EKEEPING: c_int = -6;
/// No thread or no descriptor for the negotiation.
pub const LGSS_ETHREAD: c_int = -7;
/// The context was flushed or given up, or its key has gone. Look up a new one.
pub const LGSS_EDEAD: c_int = -8;
/// The context's time is over. Look up a new one.
pub const LGSS_EEXPIRED: c_int = -9;
/// The context belongs to the process that this one was forked from. Look up a new one.
pub const LGSS_EFORKED: c_int = -10;
/// All numbers of the context have been used. Look up a new one.
pub const LGSS_EEXHAUSTED: c_int = -11;
/// Other processes use the context, too, and this operation has one sequence for all of them.
pub const LGSS_ESHARED: c_int = -12;
/// The token is malformed, or is not of this message and context.
pub const LGSS_EBADTOKEN: c_int = -13;
/// The token has been received before: it is a copy.
pub const LGSS_EDUPLICATE: c_int = -14;
/// The token is too old to be told from a copy.
pub const LGSS_EOLD: c_int = -15;
/// The message could not be protected: the kernel has no random numbers.
pub const LGSS_ERANDOM: c_int = -16;
/// A fault of the library's own. What it was asked for may be half done; end the context.
pub const LGSS_EPANIC: c_int = -17;
/// A failure that this version has no other code for.
pub const LGSS_EOTHER: c_int = -18;

/// Contexts of this process's own, in a keyring that ends with it.
pub const LGSS_OWN: c_int = 0;
/// Contexts that all processes of the user find.
pub const LGSS_SHARED: c_int = 1;

/// No protection beyond the context itself.
pub const LGSS_LEVEL_NULL: c_int = 0;
/// Authentication.
pub const LGSS_LEVEL_AUTHENTICATION: c_int = 1;
/// Signed messages.
pub const LGSS_LEVEL_INTEGRITY: c_int = 2;
/// Encrypted messages.
pub const LGSS_LEVEL_PRIVACY: c_int = 3;

/// The message is the next one, or the first of all.
pub const LGSS_IN_ORDER: c_int = 0;
/// Some messages before it have not been received, or not yet.
pub const LGSS_GAP: c_int = 1;
/// The message comes after later ones.
pub const LGSS_LATE: c_int = 2;

/// The message was signed, and could be read on its way.
pub const LGSS_SIGNED: c_int = 0;
/// The message was encrypted.
pub const LGSS_ENCRYPTED: c_int = 1;

/// Those who use a flushed context may use it to its end; no lookup gives it any more.
pub const LGSS_GRACEFUL: c_int = 0;
/// The next use of a flushed context fails with LGSS_EDEAD.
pub const LGSS_FORCED: c_int = 1;

/// The initiator chose the key of an accepted context.
pub const LGSS_KEY_OF_INITIATOR: c_int = 0;
/// The acceptor chose the key of an accepted context: the subkey of its AP-REP.
pub const LGSS_SUBKEY_OF_ACCEPTOR: c_int = 1;

/// Most buffers that one call takes.
pub const LGSS_BUFFERS_LIMIT: usize = 65536;
