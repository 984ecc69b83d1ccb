//! Edits of `topology.toml`: text and edits in, another text out, with the comments, the order and the layout that it had.
//!
//! ```text
//! text ──► each edit: parse (toml_edit) ─ find the table ─ change it ─ write ──► text ──► Topology::parse ──► Edited or refused whole
//! ```
//!
//! What is lost with what is removed: a comment on the line of a key that is unset; comments within a table that is removed,
//! and those right above its header, without a blank line between. Every other comment stays, and goes to what comes next where
//! it has to. No file, clock or socket here: the clerk of the shell reads and writes.

mod keys;
mod layout;
mod spot;
#[cfg(test)]
mod tests;

use crate::topology::{Edit, Faults, Keys, MAX_EDITS, TableName, Topology, Warning};
use similar::TextDiff;
use thiserror::Error;
use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike};

use self::layout::Layout;
use self::spot::{Found, Path};

/// What edits have made of a file.
#[derive(Debug)]
pub struct Edited {
    /// The file.
    pub text: String,
    /// What it says.
    pub topology: Topology,
    /// What is doubtful in it.
    pub warnings: Vec<Warning>,
}

/// Why edits are refused; nothing of them is carried out.
#[derive(Debug, Error)]
pub enum EditError {
    /// The present file is no TOML.
    #[error("the topology file is no TOML any more and has to be mended by hand: {0}")]
    NotToml(String),
    /// None, or too many.
    #[error("{0} edits, where 1 to {MAX_EDITS} can be carried out together")]
    Count(usize),
    /// The table is not there.
    #[error("the topology has no {0}")]
    Missing(TableName),
    /// The table is there already.
    #[error("the topology has {0} already")]
    Present(TableName),
    /// Several tables have the name.
    #[error("the topology has more than one {0}; edit the file by hand")]
    Ambiguous(TableName),
    /// The key cannot be changed like this.
    #[error("`{key}` of {table}: {why}")]
    Key {
        /// Whose.
        table: TableName,
        /// Which, cut.
        key: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A table cannot be moved there.
    #[error("{table} cannot be moved {place}")]
    Place {
        /// Which.
        table: TableName,
        /// Where to.
        place: String,
    },
    /// The file would have faults; all of them.
    #[error("{0}")]
    Faults(Faults),
}

/// Carries out `edits`, in their order; all or none. `file_name` is for messages.
pub fn apply(file_name: &str, text: &str, edits: &[Edit]) -> Result<Edited, EditError> {
    if edits.is_empty() || edits.len() > MAX_EDITS {
        return Err(EditError::Count(edits.len()));
    }
    let mut text = text.to_owned();
    for edit in edits {
        // Read anew for each, so that every table has the position and the surroundings that it has in the text.
        let mut document = read(&text)?;
        carry_out(&mut document, edit)?;
        text = document.to_string();
    }
    let (topology, warnings) = Topology::parse(file_name, &text).map_err(EditError::Faults)?;
    Ok(Edited { text, topology, warnings })
}

/// The name of a state of the file: another for each other text.
pub fn revision(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// What is different, as a unified diff; empty when nothing is.
pub fn difference(file_name: &str, before: &str, after: &str) -> String {
    TextDiff::from_lines(before, after).unified_diff().header(file_name, file_name).to_string()
}

fn read(text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|error: toml_edit::TomlError| EditError::NotToml(error.message().to_owned()))
}

fn carry_out(document: &mut DocumentMut, edit: &Edit) -> Result<(), EditError> {
    match edit {
        Edit::Add { table, keys } => add(document, table, keys),
        Edit::Change { table, set, unset, include, exclude } => {
            let mut orphans = String::new();
            let position;
            {
                let mut found = spot::find(document, table)?;
                position = found.position();
                let target = found.table();
                for key in set.keys().chain(unset).chain(include.keys()).chain(exclude.keys()) {
                    refuse_tables(table, target, key)?;
                }
                for key in unset {
                    orphans.push_str(&keys::unset(target, key));
                }
                let fail = |key: &str, why| EditError::Key { table: table.clone(), key: cut(key), why };
                for (key, value) in set {
                    keys::set(target, key, value);
                }
                for (key, value) in include {
                    keys::include(target, key, value).map_err(|why| fail(key, why))?;
                }
                for (key, value) in exclude {
                    keys::exclude(target, key, value).map_err(|why| fail(key, why))?;
                }
            }
            layout::hand_on(document, position, &orphans);
            Ok(())
        }
        Edit::Move { table, into, before } => relocate(document, table, into.as_ref(), before.as_ref()),
        Edit::Remove { table } => {
            let removed = spot::take(document, table)?;
            layout::hand_on_above(document, &removed);
            if let TableName::Channel(id) = table {
                spot::for_each_list(document, "channels", |list| keys::exclude_number(list, i64::from(id.0)));
            }
            Ok(())
        }
    }
}

/// Tables within a table are edited by their own names: a value in their place would sweep all of them away.
fn refuse_tables(table: &TableName, target: &dyn TableLike, key: &str) -> Result<(), EditError> {
    let nested = spot::nested(table) == Some(key);
    let tables = target.get(key).is_some_and(|item| {
        item.is_array_of_tables()
            || item.as_array().is_some_and(|list| list.iter().any(toml_edit::Value::is_inline_table))
    });
    if nested || tables {
        let why = "these are tables; add, change and remove each by its name";
        return Err(EditError::Key { table: table.clone(), key: cut(key), why });
    }
    Ok(())
}

fn add(document: &mut DocumentMut, table: &TableName, keys: &Keys) -> Result<(), EditError> {
    match spot::find(document, table) {
        Ok(_) => return Err(EditError::Present(table.clone())),
        Err(EditError::Missing(missing)) if missing == *table => {}
        Err(other) => return Err(other),
    }
    let (name_key, name) = spot::naming(table);
    let nested = spot::nested(table);
    if let Some(key) = keys.keys().find(|key| **key == name_key || Some(key.as_str()) == nested) {
        let why = "is no key to be given with a table's name";
        return Err(EditError::Key { table: table.clone(), key: cut(key), why });
    }
    let mut fresh = Table::new();
    if let Some(name) = name {
        fresh.insert(name_key, Item::Value(name));
    }
    for (key, value) in keys {
        keys::set(&mut fresh, key, value);
    }
    insert(document, table, fresh, None, None)
}

/// Puts a table behind its likes, or before the one that `before` names.
fn insert(
    document: &mut DocumentMut,
    name: &TableName,
    mut fresh: Table,
    comments: Option<&str>,
    before: Option<&TableName>,
) -> Result<(), EditError> {
    let layout = Layout::of(document, name);
    layout.dress(&mut fresh, comments);
    let Path::Element { parent, key } = spot::path(name) else {
        layout::place(&mut fresh, 0);
        document.insert(spot::DATABASE_SERVER, Item::Table(fresh));
        return Ok(());
    };
    let index = before.map(|before| spot::index(document, before)).transpose()?;
    let end = layout::last_position(document.as_table());
    match parent {
        None => spot::insert_table(document.as_table_mut(), key, index, fresh, end),
        Some(parent) => match spot::find(document, &parent)? {
            Found::Table(table) => {
                let end = layout::last_position(table);
                spot::insert_table(table, key, index, fresh, end);
            }
            Found::Inline(table) => spot::insert_inline(table, key, index, layout::inline(fresh)),
        },
    }
    Ok(())
}

fn relocate(
    document: &mut DocumentMut,
    table: &TableName,
    into: Option<&TableName>,
    before: Option<&TableName>,
) -> Result<(), EditError> {
    let wrong = |place: String| EditError::Place { table: table.clone(), place };
    let target = match into {
        None => table.clone(),
        Some(parent) => spot::renamed(table, parent).ok_or_else(|| wrong(format!("into {parent}")))?,
    };
    if let Some(before) = before
        && (!spot::are_neighbours(&target, before) || *before == *table)
    {
        return Err(wrong(format!("before {before}")));
    }
    if let Path::Whole = spot::path(table) {
        return Err(wrong("anywhere: there is one".to_owned()));
    }
    // Looked up before anything is taken, so that the message names what is not there.
    spot::find(document, table)?;
    if target != *table {
        match spot::find(document, &target) {
            Ok(_) => return Err(EditError::Present(target)),
            Err(EditError::Missing(missing)) if missing == target => {}
            Err(other) => return Err(other),
        }
    }
    if let Some(before) = before {
        spot::find(document, before)?;
    }
    let removed = spot::take(document, table)?;
    let own = layout::hand_on_above(document, &removed);
    insert(document, &target, removed.into_table(), Some(&own), before)
}

/// A key as messages show it.
fn cut(key: &str) -> String {
    key.chars().take(64).collect()
}

/// A table taken out of a document.
#[derive(Debug)]
enum Taken {
    Table(Table),
    Inline(InlineTable),
}

impl Taken {
    fn into_table(self) -> Table {
        match self {
            Self::Table(table) => table,
            Self::Inline(table) => table.into_table(),
        }
    }
}
