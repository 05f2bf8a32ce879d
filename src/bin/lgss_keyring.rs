//! The upcall: started by the kernel through request-key(8), see lgss_keyring(8).
#![no_main]

lgss::private_to_lgss::entry!(lgss::private_to_lgss::upcall);
