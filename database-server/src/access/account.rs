//! An account, and what its name and password may be.

use std::fmt;

use protocols::administration::{
    AccountEntry, MAX_ACCOUNT_NAME_BYTES, MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, Role,
};

/// One account.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// 1 to [`MAX_ACCOUNT_NAME_BYTES`] bytes.
    pub name: String,
    /// The password's argon2id hash as a PHC string.
    pub hash: String,
    /// What it may do.
    pub role: Role,
    /// When it was made, ms since 1970.
    pub created_ms: u64,
    /// When its role or password was last changed, ms since 1970.
    pub changed_ms: u64,
    /// Drawn anew at each change: what was opened by the account before the change does not know it, and ends.
    pub epoch: u64,
}

impl Account {
    /// As it is told.
    pub fn entry(&self) -> AccountEntry {
        AccountEntry {
            name: self.name.clone(),
            role: self.role,
            created_ms: self.created_ms,
            changed_ms: self.changed_ms,
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Refuses a name that no account may have, with the reason for people.
pub fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    if name.is_empty() || name.len() > MAX_ACCOUNT_NAME_BYTES || !name.chars().all(allowed) {
        return Err(format!("a name has 1 to {MAX_ACCOUNT_NAME_BYTES} of `A-Z a-z 0-9 . _ - @`"));
    }
    Ok(())
}

/// Refuses a password that is too easy to guess or too long to hash, with the reason for people.
pub fn check_password(name: &str, password: &str) -> Result<(), String> {
    let chars = password.chars().count();
    if chars < MIN_PASSWORD_CHARS {
        return Err(format!("the password has {chars} characters; take at least {MIN_PASSWORD_CHARS}"));
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(format!("the password has {} bytes; take at most {MAX_PASSWORD_BYTES}", password.len()));
    }
    let mut distinct: Vec<char> = password.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < 4 || password.to_lowercase().contains(&name.to_lowercase()) {
        return Err("the password is too easy to guess: it repeats itself, or has the name in it".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_that_do_not_do_are_refused() {
        assert!(check_name("anna@hotel").is_ok());
        for name in ["", "a b", "ä", &"a".repeat(33)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_password("anna", "correct horse battery").is_ok());
        for password in ["short", "aaaaaaaaaaaaaaaa", "my-name-is-Anna", &"ab12".repeat(65)] {
            assert!(check_password("anna", password).is_err(), "{password}");
        }
    }
}
