//! From any earlier schema to the present one, step by step, by `PRAGMA user_version`.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// Step `n` brings version `n` to `n + 1`. Steps are never changed once released; new ones are added.
const STEPS: [&str; 4] = [
    include_str!("migrations/0001_first_tables.sql"),
    include_str!("migrations/0002_recordings.sql"),
    include_str!("migrations/0003_accounts.sql"),
    include_str!("migrations/0004_guide.sql"),
];

/// Brings the database to the present version, each step in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let sqlite = |error| StoreError::Sqlite { path: path.to_owned(), error };
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sqlite)?;
    let done = usize::try_from(found).ok().filter(|done| *done <= STEPS.len());
    let Some(done) = done else {
        return Err(StoreError::Later { path: path.to_owned(), found, known: STEPS.len() });
    };
    for (version, step) in (1_i64..).zip(STEPS).skip(done) {
        let transaction = connection.transaction().map_err(sqlite)?;
        transaction.execute_batch(step).map_err(sqlite)?;
        transaction.pragma_update(None, "user_version", version).map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every column of every table: table, name, type, whether it may be null, place in the key.
    fn columns(connection: &Connection) -> Vec<(String, String, String, bool, i64)> {
        let sql = "SELECT m.name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_master m, pragma_table_info(m.name) c \
                   WHERE m.type = 'table' ORDER BY 1, c.cid";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)));
        rows.unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn the_migrations_make_what_schema_sql_says() {
        let mut migrated = Connection::open_in_memory().unwrap();
        migrate(&mut migrated, Path::new("memory")).unwrap();
        let written = Connection::open_in_memory().unwrap();
        written.execute_batch(include_str!("schema.sql")).unwrap();
        assert_eq!(columns(&migrated), columns(&written));
        assert!(columns(&written).len() > 20);
    }

    #[test]
    fn a_database_of_a_later_version_is_refused_with_both_versions() {
        let mut later = Connection::open_in_memory().unwrap();
        later.pragma_update(None, "user_version", 9).unwrap();
        let error = migrate(&mut later, Path::new("masthead.db")).unwrap_err().to_string();
        assert!(error.contains("schema version is 9, this program knows versions up to 4"), "{error}");
    }

    #[test]
    fn a_database_of_the_first_version_keeps_what_is_in_it() {
        let mut old = Connection::open_in_memory().unwrap();
        old.execute_batch(STEPS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute_batch("INSERT INTO life (id, start, started_ms) VALUES (1, 7, 8)").unwrap();
        migrate(&mut old, Path::new("memory")).unwrap();
        let kept: i64 = old.query_row("SELECT start FROM life", [], |row| row.get(0)).unwrap();
        let new: i64 = old.query_row("SELECT count(*) FROM extent", [], |row| row.get(0)).unwrap();
        assert_eq!((kept, new), (7, 0));
    }
}
