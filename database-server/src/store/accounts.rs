//! Accounts and the audit, by a connection of its own: whoever changes an account is answered once it is on the disk, and must
//! not wait behind a thousand records of hosts.

use std::path::{Path, PathBuf};

use protocols::administration::{AuditEntry, Role};
use rusqlite::{Connection, Row, params};

use super::{BUSY_TIMEOUT, FILE_NAME, StoreError};
use crate::access::Account;

/// Audit rows that are kept; the oldest go first.
pub const MAX_AUDIT: u32 = 100_000;

/// The accounts on the disk. Every call blocks.
#[derive(Debug)]
pub struct AccountBook {
    connection: Connection,
    path: PathBuf,
}

impl AccountBook {
    /// Opens the book of the store in `folder`, which has been opened by [`super::open`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE_NAME);
        let sqlite = |error| StoreError::Sqlite { path: path.clone(), error };
        let connection = Connection::open(&path).map_err(sqlite)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
        connection.pragma_update(None, "synchronous", "full").map_err(sqlite)?;
        Ok(Self { connection, path })
    }

    /// All accounts, by name.
    pub fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let sql = "SELECT name, hash, role, created_ms, changed_ms, epoch FROM account ORDER BY name";
            self.connection.prepare(sql)?.query_map([], account)?.collect()
        };
        read().map_err(|error| self.failed(error))
    }

    /// Keeps an account, in the place of one of the same name.
    pub fn put(&mut self, account: &Account) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO account (name, hash, role, created_ms, changed_ms, epoch) VALUES (?, ?, ?, ?, ?, ?)";
        let Account { name, hash, role, created_ms, changed_ms, epoch } = account;
        let row = params![
            name,
            hash,
            role.name(),
            created_ms.cast_signed(),
            changed_ms.cast_signed(),
            epoch.cast_signed()
        ];
        self.connection.execute(sql, row).map(drop).map_err(|error| self.failed(error))
    }

    /// Forgets an account.
    pub fn remove(&mut self, name: &str) -> Result<(), StoreError> {
        let removed = self.connection.execute("DELETE FROM account WHERE name = ?", [name]);
        removed.map(drop).map_err(|error| self.failed(error))
    }

    /// Writes a line into the audit; its `id` is drawn here.
    pub fn audit(&mut self, line: &AuditEntry) -> Result<(), StoreError> {
        let mut write = || {
            let transaction = self.connection.transaction()?;
            let row = params![line.at_ms.cast_signed(), line.who, line.origin, line.what, line.outcome];
            transaction.execute(
                "INSERT INTO audit (at_ms, who, origin, what, outcome) VALUES (?, ?, ?, ?, ?)",
                row,
            )?;
            let oldest = transaction.last_insert_rowid() - i64::from(MAX_AUDIT);
            transaction.execute("DELETE FROM audit WHERE id <= ?", [oldest])?;
            transaction.commit()
        };
        write().map_err(|error| self.failed(error))
    }

    /// Lines of the audit before `before`, the newest first.
    pub fn audited(&self, before: Option<u64>, limit: u16) -> Result<Vec<AuditEntry>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
            let sql = "SELECT id, at_ms, who, origin, what, outcome FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?";
            self.connection.prepare(sql)?.query_map(params![before, limit], entry)?.collect()
        };
        read().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), error }
    }
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let role: String = row.get(2)?;
    Ok(Account {
        name: row.get(0)?,
        hash: row.get(1)?,
        // The table's own check lets nothing else in.
        role: role.parse().unwrap_or(Role::Viewer),
        created_ms: row.get::<_, i64>(3)?.cast_unsigned(),
        changed_ms: row.get::<_, i64>(4)?.cast_unsigned(),
        epoch: row.get::<_, i64>(5)?.cast_unsigned(),
    })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        at_ms: row.get::<_, i64>(1)?.cast_unsigned(),
        who: row.get(2)?,
        origin: row.get(3)?,
        what: row.get(4)?,
        outcome: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use protocols::time::ClusterTime;

    use super::*;

    #[test]
    fn accounts_and_audit_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let account = Account {
            name: "anna".to_owned(),
            hash: "$argon2id$".to_owned(),
            role: Role::Operator,
            created_ms: 1,
            changed_ms: 2,
            epoch: u64::MAX,
        };
        {
            let _store = super::super::open(folder.path(), ClusterTime(1_800_000_000_000)).unwrap();
            let mut book = AccountBook::open(folder.path()).unwrap();
            book.put(&account).unwrap();
            for at_ms in 1..=3 {
                let text = |text: &str| text.to_owned();
                let line = AuditEntry {
                    id: 0,
                    at_ms,
                    who: text("anna"),
                    origin: text("::1"),
                    what: text("x"),
                    outcome: text("done"),
                };
                book.audit(&line).unwrap();
            }
        }
        let _store = super::super::open(folder.path(), ClusterTime(1_800_000_000_000)).unwrap();
        let mut book = AccountBook::open(folder.path()).unwrap();
        assert_eq!(book.accounts().unwrap(), [account]);
        let lines: Vec<u64> = book.audited(Some(3), 10).unwrap().iter().map(|line| line.at_ms).collect();
        assert_eq!(lines, [2, 1]);
        book.remove("anna").unwrap();
        assert!(book.accounts().unwrap().is_empty());
    }
}
