//! Finding a table in a document by its name, in whichever of TOML's ways it is written.

use std::net::IpAddr;

use crate::topology::TableName;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::{EditError, Taken, layout};

/// Key of the one table that is no list.
pub(super) const DATABASE_SERVER: &str = "database_server";

/// How a table is reached.
pub(super) enum Path {
    /// `[database_server]`
    Whole,
    /// One of the tables under `key` of `parent`; `None`: of the document.
    Element { parent: Option<TableName>, key: &'static str },
}

/// A table, written with a header or in braces.
pub(super) enum Found<'a> {
    Table(&'a mut Table),
    Inline(&'a mut InlineTable),
}

impl Found<'_> {
    pub(super) fn table(&mut self) -> &mut dyn TableLike {
        match self {
            Self::Table(table) => *table,
            Self::Inline(table) => *table,
        }
    }

    /// Where in the document; `None` for one within a line.
    pub(super) fn position(&self) -> Option<isize> {
        match self {
            Self::Table(table) => table.position(),
            Self::Inline(_) => None,
        }
    }
}

pub(super) fn path(name: &TableName) -> Path {
    let (parent, key) = match name {
        TableName::DatabaseServer => return Path::Whole,
        TableName::AcquisitionServer(_) => (None, "acquisition_server"),
        TableName::Input { acquisition_server, .. } => {
            (Some(TableName::AcquisitionServer(acquisition_server.clone())), "input")
        }
        TableName::Channel(_) => (None, "channel"),
        TableName::PushServer(_) => (None, "push_server"),
        TableName::Destination { push_server, .. } => {
            (Some(TableName::PushServer(push_server.clone())), "destination")
        }
        TableName::Backup { channel, .. } => (Some(TableName::Channel(*channel)), "backup"),
    };
    Path::Element { parent, key }
}

/// The key that tells tables of this kind apart, and what it says.
pub(super) fn naming(name: &TableName) -> (&'static str, Option<Value>) {
    match name {
        TableName::DatabaseServer => ("", None),
        TableName::AcquisitionServer(id) => ("id", Some(id.as_str().into())),
        TableName::Input { id, .. } => ("id", Some(id.as_str().into())),
        TableName::Channel(id) => ("id", Some(i64::from(id.0).into())),
        TableName::PushServer(id) => ("id", Some(id.as_str().into())),
        TableName::Destination { address, .. } => ("address", Some(address.as_str().into())),
        TableName::Backup { input, .. } => ("input", Some(input.as_str().into())),
    }
}

/// The key of the tables that a table of this kind may hold.
pub(super) fn nested(name: &TableName) -> Option<&'static str> {
    match name {
        TableName::AcquisitionServer(_) => Some("input"),
        TableName::Channel(_) => Some("backup"),
        TableName::PushServer(_) => Some("destination"),
        _ => None,
    }
}

/// The name that a table has once it is of `parent`; `None` where it cannot be.
pub(super) fn renamed(name: &TableName, parent: &TableName) -> Option<TableName> {
    match (name, parent) {
        (TableName::Input { id, .. }, TableName::AcquisitionServer(server)) => {
            Some(TableName::Input { acquisition_server: server.clone(), id: id.clone() })
        }
        (TableName::Destination { address, .. }, TableName::PushServer(host)) => {
            Some(TableName::Destination { push_server: host.clone(), address: address.clone() })
        }
        (TableName::Backup { input, .. }, TableName::Channel(channel)) => {
            Some(TableName::Backup { channel: *channel, input: input.clone() })
        }
        _ => None,
    }
}

/// Whether both are in one list.
pub(super) fn are_neighbours(one: &TableName, other: &TableName) -> bool {
    match (path(one), path(other)) {
        (Path::Element { parent: a, key: k }, Path::Element { parent: b, key: l }) => a == b && k == l,
        _ => false,
    }
}

pub(super) fn find<'d>(document: &'d mut DocumentMut, name: &TableName) -> Result<Found<'d>, EditError> {
    let missing = || EditError::Missing(name.clone());
    match path(name) {
        Path::Whole => match document.get_mut(DATABASE_SERVER) {
            Some(Item::Table(table)) => Ok(Found::Table(table)),
            Some(Item::Value(Value::InlineTable(table))) => Ok(Found::Inline(table)),
            _ => Err(missing()),
        },
        Path::Element { .. } => {
            let index = index(document, name)?;
            match list(document, name)? {
                Some(Item::ArrayOfTables(tables)) => {
                    tables.get_mut(index).map(Found::Table).ok_or_else(missing)
                }
                Some(Item::Value(Value::Array(array))) => {
                    let value = array.get_mut(index).and_then(Value::as_inline_table_mut);
                    value.map(Found::Inline).ok_or_else(missing)
                }
                _ => Err(missing()),
            }
        }
    }
}

/// The list that the table is in, if there is one.
fn list<'d>(document: &'d mut DocumentMut, name: &TableName) -> Result<Option<&'d mut Item>, EditError> {
    match path(name) {
        Path::Whole => Ok(None),
        Path::Element { parent: None, key } => Ok(document.get_mut(key)),
        Path::Element { parent: Some(parent), key } => Ok(match find(document, &parent)? {
            Found::Table(table) => table.get_mut(key),
            Found::Inline(table) => TableLike::get_mut(table, key),
        }),
    }
}

/// Which element of its list the table is.
pub(super) fn index(document: &mut DocumentMut, name: &TableName) -> Result<usize, EditError> {
    let places: Vec<usize> = match list(document, name)? {
        Some(Item::ArrayOfTables(tables)) => {
            places(tables.iter().map(|table| Some(table as &dyn TableLike)), name)
        }
        Some(Item::Value(Value::Array(array))) => places(
            array.iter().map(|value| value.as_inline_table().map(|table| table as &dyn TableLike)),
            name,
        ),
        _ => Vec::new(),
    };
    match places[..] {
        [] => Err(EditError::Missing(name.clone())),
        [one] => Ok(one),
        _ => Err(EditError::Ambiguous(name.clone())),
    }
}

fn places<'t>(tables: impl Iterator<Item = Option<&'t dyn TableLike>>, name: &TableName) -> Vec<usize> {
    let matching = tables.enumerate().filter(|(_, table)| table.is_some_and(|table| is(table, name)));
    matching.map(|(index, _)| index).collect()
}

fn is(table: &dyn TableLike, name: &TableName) -> bool {
    let text = |key| table.get(key).and_then(Item::as_str);
    match name {
        TableName::DatabaseServer => false,
        TableName::AcquisitionServer(id) => text("id") == Some(id.as_str()),
        TableName::Input { id, .. } => text("id") == Some(id.as_str()),
        TableName::PushServer(id) => text("id") == Some(id.as_str()),
        TableName::Backup { input, .. } => text("input") == Some(input.as_str()),
        TableName::Channel(id) => table.get("id").and_then(Item::as_integer) == Some(i64::from(id.0)),
        TableName::Destination { address, .. } => {
            text("address").is_some_and(|written| same(written, address))
        }
    }
}

/// Whether two texts are one address.
fn same(one: &str, other: &str) -> bool {
    let address = |text: &str| text.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    one == other || address(one).is_some_and(|one| address(other) == Some(one))
}

/// Takes the table out of its list; a list that is empty then goes too.
pub(super) fn take(document: &mut DocumentMut, name: &TableName) -> Result<Taken, EditError> {
    let missing = || EditError::Missing(name.clone());
    let Path::Element { parent, key } = path(name) else {
        return match document.remove(DATABASE_SERVER) {
            Some(Item::Table(table)) => Ok(Taken::Table(table)),
            Some(Item::Value(Value::InlineTable(table))) => Ok(Taken::Inline(table)),
            _ => Err(missing()),
        };
    };
    let index = index(document, name)?;
    let (taken, empty) = match list(document, name)? {
        Some(Item::ArrayOfTables(tables)) => (Taken::Table(tables.remove(index)), tables.is_empty()),
        Some(Item::Value(Value::Array(array))) => match array.remove(index) {
            Value::InlineTable(table) => (Taken::Inline(table), false),
            _ => return Err(missing()),
        },
        _ => return Err(missing()),
    };
    if empty {
        match parent {
            None => {
                document.remove(key);
            }
            Some(parent) => {
                find(document, &parent)?.table().remove(key);
            }
        }
    }
    Ok(taken)
}

/// Puts `fresh` into the list under `key` of `table`; `end` is the position of all that `table` holds now.
pub(super) fn insert_table(table: &mut Table, key: &str, index: Option<usize>, mut fresh: Table, end: isize) {
    match table.get_mut(key) {
        Some(Item::ArrayOfTables(tables)) => {
            let at = index.unwrap_or(tables.len());
            let position = match tables.get(at) {
                // Of two of one position the one that comes first in its list is written first.
                Some(next) => next.position().unwrap_or(end),
                None => tables.iter().last().map_or(end, layout::last_position),
            };
            layout::place(&mut fresh, position);
            tables.insert(at, fresh);
        }
        Some(Item::Value(Value::Array(array))) => insert_value(array, index, layout::inline(fresh)),
        _ => {
            layout::place(&mut fresh, end);
            let mut tables = ArrayOfTables::new();
            tables.push(fresh);
            table.insert(key, Item::ArrayOfTables(tables));
        }
    }
}

/// Likewise, of a table in braces.
pub(super) fn insert_inline(table: &mut InlineTable, key: &str, index: Option<usize>, fresh: InlineTable) {
    if let Some(Value::Array(array)) = table.get_mut(key) {
        return insert_value(array, index, fresh);
    }
    let mut array = Array::new();
    array.push(fresh);
    table.insert(key, Value::Array(array));
}

fn insert_value(array: &mut Array, index: Option<usize>, fresh: InlineTable) {
    let at = index.unwrap_or(array.len()).min(array.len());
    let like = array.iter().last().and_then(|value| value.decor().prefix()).and_then(|raw| raw.as_str());
    let prefix = layout::spaces(like.unwrap_or_default()).to_owned();
    let mut value = Value::InlineTable(fresh);
    if prefix.is_empty() && at > 0 {
        value.decor_mut().set_prefix(" ");
    } else {
        value.decor_mut().set_prefix(prefix);
    }
    array.insert_formatted(at, value);
}

/// Every list under `key`, of push servers and their destinations.
pub(super) fn for_each_list(document: &mut DocumentMut, key: &str, mut each: impl FnMut(&mut Array)) {
    let Some(hosts) = document.get_mut("push_server") else { return };
    for_each_table(hosts, &mut |host| {
        if let Some(list) = host.get_mut(key).and_then(Item::as_array_mut) {
            each(list);
        }
        if let Some(destinations) = host.get_mut("destination") {
            for_each_table(destinations, &mut |destination| {
                if let Some(list) = destination.get_mut(key).and_then(Item::as_array_mut) {
                    each(list);
                }
            });
        }
    });
}

fn for_each_table(item: &mut Item, each: &mut dyn FnMut(&mut dyn TableLike)) {
    match item {
        Item::ArrayOfTables(tables) => tables.iter_mut().for_each(|table| each(table)),
        Item::Value(Value::Array(array)) => {
            array.iter_mut().filter_map(Value::as_inline_table_mut).for_each(|table| each(table));
        }
        _ => {}
    }
}
