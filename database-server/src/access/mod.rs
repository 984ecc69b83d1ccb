//! Who may come in: accounts, sessions, and the brake on guessing. Pure; hashing and keeping are the shell's and the store's.

mod account;
pub mod sessions;
pub mod throttle;

pub use account::{Account, check_name, check_password};
pub use sessions::Sessions;
pub use throttle::Throttle;
