//! The brake on guessing passwords: each wrong one makes the next wait longer, for its account and for its address.
//!
//! ```text
//! free ──FREE_ATTEMPTS wrong──► waits 1 s ──wrong──► 2 s ──wrong──► 4 s … ──at most MAX_WAIT──┐
//!   ▲                                                                                         │
//!   └──────────── the right password, or none tried for FORGET ◄──────────────────────────────┘
//! ```
//!
//! An attempt counts as wrong from its beginning until it turns out right, so that many at once are braked as well.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use protocols::time::Time;

/// Wrong passwords that cost nothing.
pub const FREE_ATTEMPTS: u32 = 3;
/// Longest wait of an account: whoever guesses cannot keep its owner out for longer.
pub const MAX_ACCOUNT_WAIT: Duration = Duration::from_secs(30);
/// Longest wait of an address.
pub const MAX_ADDRESS_WAIT: Duration = Duration::from_mins(5);
/// Without an attempt for this long, all is forgotten.
pub const FORGET: Duration = Duration::from_hours(1);
/// Accounts and addresses that are remembered; one more has the one forgotten that was tried the longest ago.
pub const MAX_ENTRIES: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// Whether there is such an account or not; by its hash, for a name may be of any length.
    Account([u8; 32]),
    /// Of an IPv6 address the first 64 bits: one host has all of the rest.
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    wrong: u32,
    until: Time,
    last: Time,
}

/// What was tried by whom.
#[derive(Debug, Default)]
pub struct Throttle {
    entries: BTreeMap<Subject, Entry>,
}

impl Throttle {
    /// Begins an attempt; refused with the time to wait.
    pub fn begin(&mut self, now: Time, name: &str, address: IpAddr) -> Result<(), Duration> {
        let subjects = subjects(name, address);
        let wait = subjects
            .iter()
            .filter_map(|(subject, _)| self.entries.get(subject))
            .map(|entry| entry.until.since(now))
            .max();
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        for (subject, longest) in subjects {
            let wrong = self.fresh(now, &subject).map_or(0, |entry| entry.wrong).saturating_add(1);
            let wait = match wrong.checked_sub(FREE_ATTEMPTS) {
                None | Some(0) => Duration::ZERO,
                Some(over) => Duration::from_secs(1_u64 << (over - 1).min(20)).min(longest),
            };
            self.make_room(&subject);
            self.entries.insert(subject, Entry { wrong, until: now + wait, last: now });
        }
        Ok(())
    }

    /// The attempt was right.
    pub fn right(&mut self, name: &str, address: IpAddr) {
        for (subject, _) in subjects(name, address) {
            self.entries.remove(&subject);
        }
    }

    fn fresh(&self, now: Time, subject: &Subject) -> Option<&Entry> {
        self.entries.get(subject).filter(|entry| now.since(entry.last) < FORGET)
    }

    fn make_room(&mut self, subject: &Subject) {
        if self.entries.len() < MAX_ENTRIES || self.entries.contains_key(subject) {
            return;
        }
        let oldest =
            self.entries.iter().min_by_key(|(_, entry)| entry.last).map(|(subject, _)| subject.clone());
        if let Some(oldest) = oldest {
            self.entries.remove(&oldest);
        }
    }
}

fn subjects(name: &str, address: IpAddr) -> [(Subject, Duration); 2] {
    let address = match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    };
    [
        (Subject::Account(*blake3::hash(name.as_bytes()).as_bytes()), MAX_ACCOUNT_WAIT),
        (Subject::Address(address), MAX_ADDRESS_WAIT),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n))
    }

    #[test]
    fn each_wrong_password_makes_the_next_wait_longer() {
        let mut throttle = Throttle::default();
        let mut now = Time::from_ms(1_000);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let wait = throttle.begin(now, "anna", address(1)).err().unwrap_or_default();
            waits.push(wait.as_secs());
            now += wait;
            if !wait.is_zero() {
                throttle.begin(now, "anna", address(1)).unwrap();
            }
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128]);
        // Of another address the account's own wait is bounded.
        let wait = throttle.begin(now, "anna", address(2)).unwrap_err();
        assert!(wait <= MAX_ACCOUNT_WAIT, "{wait:?}");
        // The address waits whatever name it tries.
        assert!(throttle.begin(now, "bert", address(1)).unwrap_err() > MAX_ACCOUNT_WAIT);
    }

    #[test]
    fn the_right_password_and_time_make_free() {
        let mut throttle = Throttle::default();
        let now = Time::from_ms(1_000);
        for _ in 0..4 {
            throttle.begin(now, "anna", address(1)).unwrap();
        }
        assert!(throttle.begin(now, "anna", address(1)).is_err());
        throttle.right("anna", address(1));
        throttle.begin(now, "anna", address(1)).unwrap();
        for _ in 0..3 {
            throttle.begin(now, "bert", address(2)).unwrap();
        }
        for _ in 0..FREE_ATTEMPTS {
            throttle.begin(now + FORGET, "bert", address(2)).unwrap();
        }
    }

    #[test]
    fn attempts_at_once_are_braked_as_those_one_by_one() {
        let mut throttle = Throttle::default();
        let now = Time::from_ms(1_000);
        let taken = (0..100).filter(|_| throttle.begin(now, "anna", address(1)).is_ok()).count();
        assert_eq!(taken, 4);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..6_000 {
            throttle.begin(Time::from_ms(n.into()), &n.to_string(), address(n)).unwrap();
        }
        assert_eq!(throttle.entries.len(), MAX_ENTRIES);
    }
}
