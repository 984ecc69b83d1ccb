//! How much may be sent again: the bucket that clients count with too.

pub use protocols::budget::{Allowance, Budget, Share};
