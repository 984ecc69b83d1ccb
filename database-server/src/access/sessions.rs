//! Sessions of the console: who is logged in by which cookie.
//!
//! A session is found by the hash of its id, so that whoever reads this table or a copy of it cannot act for anybody. It ends
//! after [`IDLE_LIMIT`] without a request, after [`LIMIT`] in any case, at log out, and with the epoch of its account, which is
//! another after each change of password or role.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols::time::Time;

/// A session without a request for this long ends.
pub const IDLE_LIMIT: Duration = Duration::from_hours(1);
/// A session ends after this whatever happens.
pub const LIMIT: Duration = Duration::from_hours(12);
/// Sessions of one account; one more ends the one used the longest ago.
pub const MAX_PER_ACCOUNT: usize = 16;
/// Sessions in all, likewise.
pub const MAX_SESSIONS: usize = 4_096;

/// A session's id, as the cookie has it: 256 random bits.
pub type SessionId = [u8; 32];

/// Who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Name of the account.
    pub name: String,
    /// The account's epoch when the session began.
    pub epoch: u64,
}

#[derive(Debug)]
struct Session {
    holder: Holder,
    begun: Time,
    used: Time,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: BTreeMap<[u8; 32], Session>,
}

impl Sessions {
    /// Begins a session under an id that nobody has had before.
    pub fn begin(&mut self, now: Time, id: &SessionId, holder: Holder) {
        self.sessions.retain(|_, session| session.lasts(now));
        let of_account = |session: &Session| session.holder.name == holder.name;
        if self.sessions.values().filter(|session| of_account(session)).count() >= MAX_PER_ACCOUNT {
            self.end_oldest(of_account);
        }
        if self.sessions.len() >= MAX_SESSIONS {
            self.end_oldest(|_| true);
        }
        self.sessions.insert(key(id), Session { holder, begun: now, used: now });
    }

    /// Who uses the session, if it lasts; it is used now.
    pub fn use_now(&mut self, now: Time, id: &SessionId) -> Option<Holder> {
        let key = key(id);
        let session = self.sessions.get_mut(&key)?;
        if !session.lasts(now) {
            self.sessions.remove(&key);
            return None;
        }
        session.used = now;
        Some(session.holder.clone())
    }

    /// Ends one.
    pub fn end(&mut self, id: &SessionId) {
        self.sessions.remove(&key(id));
    }

    /// Ends those of an account that do not know its present epoch.
    pub fn end_others(&mut self, name: &str, epoch: Option<u64>) {
        self.sessions.retain(|_, session| session.holder.name != name || Some(session.holder.epoch) == epoch);
    }

    /// Lets one session go on over a change of its account that it made itself.
    pub fn renew(&mut self, id: &SessionId, epoch: u64) {
        if let Some(session) = self.sessions.get_mut(&key(id)) {
            session.holder.epoch = epoch;
        }
    }

    fn end_oldest(&mut self, which: impl Fn(&Session) -> bool) {
        let candidates = self.sessions.iter().filter(|(_, session)| which(session));
        if let Some(key) = candidates.min_by_key(|(_, session)| session.used).map(|(key, _)| *key) {
            self.sessions.remove(&key);
        }
    }
}

impl Session {
    fn lasts(&self, now: Time) -> bool {
        now.since(self.used) < IDLE_LIMIT && now.since(self.begun) < LIMIT
    }
}

fn key(id: &SessionId) -> [u8; 32] {
    *blake3::hash(id).as_bytes()
}

/// What a page has to show beside the cookie: bound to the session, and of no use without it.
pub fn token(id: &SessionId) -> String {
    blake3::Hash::from_bytes(blake3::derive_key("masthead 2026-11 session token", id)).to_hex().to_string()
}

/// Whether `shown` is the token of the session, compared in constant time.
pub fn is_token(id: &SessionId, shown: &str) -> bool {
    let expected = token(id);
    let differs = |(a, b): (u8, u8)| a ^ b;
    shown.len() == expected.len()
        && shown.bytes().zip(expected.bytes()).map(differs).fold(0, |all, one| all | one) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(name: &str) -> Holder {
        Holder { name: name.to_owned(), epoch: 1 }
    }

    #[test]
    fn a_session_ends_idle_and_old() {
        let (mut sessions, id) = (Sessions::default(), [1; 32]);
        let start = Time::from_ms(1_000);
        sessions.begin(start, &id, holder("anna"));
        let mut now = start;
        while now.since(start) + IDLE_LIMIT / 2 < LIMIT {
            assert!(sessions.use_now(now, &id).is_some(), "used often enough");
            now += IDLE_LIMIT / 2;
        }
        assert!(sessions.use_now(start + LIMIT, &id).is_none(), "too old");
        sessions.begin(start, &id, holder("anna"));
        assert!(sessions.use_now(start + IDLE_LIMIT, &id).is_none(), "idle");
        assert!(sessions.use_now(start, &id).is_none(), "and gone for good");
    }

    #[test]
    fn a_change_of_the_account_ends_all_sessions_but_the_one_that_made_it() {
        let mut sessions = Sessions::default();
        let now = Time::from_ms(1_000);
        for id in 1..=3 {
            sessions.begin(now, &[id; 32], holder(if id == 3 { "bert" } else { "anna" }));
        }
        sessions.renew(&[1; 32], 2);
        sessions.end_others("anna", Some(2));
        assert_eq!(sessions.use_now(now, &[1; 32]), Some(Holder { name: "anna".to_owned(), epoch: 2 }));
        assert_eq!(sessions.use_now(now, &[2; 32]), None);
        assert!(sessions.use_now(now, &[3; 32]).is_some());
        sessions.end_others("anna", None);
        assert_eq!(sessions.use_now(now, &[1; 32]), None);
    }

    #[test]
    fn sessions_are_bounded_by_account_and_in_all() {
        let mut sessions = Sessions::default();
        for n in 0..6_000_u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            sessions.begin(Time::from_ms(n), &id, holder(&format!("a{}", n % 300)));
        }
        assert_eq!(sessions.sessions.len(), MAX_SESSIONS);
        for n in 6_000..6_100_u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            sessions.begin(Time::from_ms(n), &id, holder("one"));
        }
        assert_eq!(sessions.sessions.values().filter(|s| s.holder.name == "one").count(), MAX_PER_ACCOUNT);
    }

    #[test]
    fn a_token_holds_for_its_session_only() {
        assert!(is_token(&[1; 32], &token(&[1; 32])));
        assert!(!is_token(&[1; 32], &token(&[2; 32])) && !is_token(&[1; 32], ""));
    }
}
