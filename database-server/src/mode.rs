//! Off-line or on-line: without a registered acquisition server nothing is live; the first one to register changes that.
//!
//! ```text
//! Offline --first acquisition server registers--> Online --last one is gone--> Offline
//! ```

/// The mode of the whole site.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// No acquisition server is registered: broadcast is not available.
    #[default]
    Offline,
    /// At least one is: broadcast is available to any client.
    Online,
}

impl Mode {
    /// Follows the number of registered acquisition servers; `true` when that changes the mode.
    pub fn follow(&mut self, registered: usize) -> bool {
        let next = if registered == 0 { Self::Offline } else { Self::Online };
        let changed = *self != next;
        *self = next;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_registration_goes_on_line_and_the_last_loss_off_line() {
        use Mode::{Offline, Online};
        let mut mode = Mode::default();
        let walk: Vec<(bool, Mode)> = [0, 1, 2, 1, 0, 1].map(|n| (mode.follow(n), mode)).to_vec();
        assert_eq!(
            walk,
            [
                (false, Offline),
                (true, Online),
                (false, Online),
                (false, Online),
                (true, Offline),
                (true, Online)
            ]
        );
    }
}
