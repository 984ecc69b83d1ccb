//! How a file looks: where tables stand, how they are indented, and whose a comment is.

use crate::topology::TableName;
use toml_edit::{Decor, DocumentMut, InlineTable, Item, RawString, Table, Value};

use super::Taken;
use super::spot::{self, Path};

/// How a new table is to look: as its likes do.
pub(super) struct Layout {
    /// Blank line and indentation before the header.
    blank: bool,
    header: String,
    keys: String,
}

impl Layout {
    /// As the last table of the same list, or of the same kind, or with two blanks for each level.
    pub(super) fn of(document: &DocumentMut, name: &TableName) -> Self {
        let Path::Element { parent, key } = spot::path(name) else {
            return Self { blank: false, header: String::new(), keys: String::new() };
        };
        let nested = parent.is_some();
        let mut layout = Self { blank: !nested, header: indent(nested), keys: indent(nested) };
        let tables = match &parent {
            None => last(document.as_table(), key),
            Some(parent) => {
                let (outer, wanted) = (spot::path(parent), spot::naming(parent).1);
                let Path::Element { key: outer, .. } = outer else { return layout };
                let Some(Item::ArrayOfTables(parents)) = document.get(outer) else { return layout };
                let is_parent = |table: &&Table| {
                    let id = table.get("id").and_then(Item::as_str);
                    id.is_some() && id == wanted.as_ref().and_then(Value::as_str)
                };
                let own = parents.iter().find(is_parent).and_then(|table| last(table, key));
                own.or_else(|| parents.iter().find_map(|table| last(table, key)))
            }
        };
        if let Some(like) = tables {
            let above = text(like.decor().prefix());
            layout.blank = !nested || above.contains('\n');
            spaces_behind_newline(above).clone_into(&mut layout.header);
            if let Some(key) = like.iter().next().and_then(|(key, _)| like.key(key)) {
                spaces_behind_newline(text(key.leaf_decor().prefix())).clone_into(&mut layout.keys);
            }
        }
        layout
    }

    /// Gives `table` this look, below `comments` of its own.
    pub(super) fn dress(&self, table: &mut Table, comments: Option<&str>) {
        let blank = if self.blank { "\n" } else { "" };
        let comments = comments.unwrap_or_default();
        table.decor_mut().set_prefix(format!("{blank}{comments}{}", self.header));
        let names: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).collect();
        for name in names {
            if let Some(mut key) = table.key_mut(&name)
                && text(key.leaf_decor().prefix()).is_empty()
            {
                key.leaf_decor_mut().set_prefix(self.keys.as_str());
            }
        }
    }
}

fn indent(nested: bool) -> String {
    if nested { "  ".to_owned() } else { String::new() }
}

fn last<'t>(table: &'t Table, key: &str) -> Option<&'t Table> {
    table.get(key)?.as_array_of_tables()?.iter().last()
}

/// The text of a piece of layout.
pub(super) fn text(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or_default()
}

/// The blanks at the end of `prefix`, from its last line on.
fn spaces_behind_newline(prefix: &str) -> &str {
    let line = prefix.rsplit('\n').next().unwrap_or_default();
    if line.trim().is_empty() { line } else { "" }
}

/// The white space of the last line of `prefix`, with its line break.
pub(super) fn spaces(prefix: &str) -> &str {
    let start = prefix.rfind('\n').unwrap_or(0);
    if prefix[start..].trim().is_empty() { &prefix[start..] } else { "" }
}

/// Has `table` and all below it written at `position`, in the order of their lists.
pub(super) fn place(table: &mut Table, position: isize) {
    table.set_position(Some(position));
    for (_, item) in table.iter_mut() {
        match item {
            Item::Table(inner) => place(inner, position),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(|inner| place(inner, position)),
            _ => {}
        }
    }
}

/// The last position of `table` and all below it.
pub(super) fn last_position(table: &Table) -> isize {
    let below = table.iter().map(|(_, item)| match item {
        Item::Table(inner) => last_position(inner),
        Item::ArrayOfTables(tables) => tables.iter().map(last_position).max().unwrap_or(0),
        _ => 0,
    });
    below.max().unwrap_or(0).max(table.position().unwrap_or(0))
}

/// A table with a header, for a list in brackets: on one line.
pub(super) fn inline(mut table: Table) -> InlineTable {
    for (_, item) in table.iter_mut() {
        if let Item::ArrayOfTables(tables) = item {
            *item = Item::Value(Value::Array(std::mem::take(tables).into_array()));
        }
    }
    let mut inline = table.into_inline_table();
    inline.fmt();
    inline
}

/// Gives the comments above a removed table that are not its own to what comes next, and returns its own.
pub(super) fn hand_on_above(document: &mut DocumentMut, removed: &Taken) -> String {
    let Taken::Table(table) = removed else { return String::new() };
    let prefix = text(table.decor().prefix()).to_owned();
    // Its own: the block of comments that touches the header.
    let cut = prefix.rfind("\n\n").map_or(0, |at| at + 2);
    let cut = if prefix[..cut].contains('#') { cut } else { cut.min(prefix.len()) };
    let (others, own) = prefix.split_at(cut);
    let own: String = own.lines().filter(|line| line.contains('#')).flat_map(|line| [line, "\n"]).collect();
    if others.contains('#') {
        hand_on(document, table.position(), others);
    }
    own
}

/// Gives comments to the table that is written next after `position`, or to the end of the file.
pub(super) fn hand_on(document: &mut DocumentMut, position: Option<isize>, comments: &str) {
    if !comments.contains('#') {
        return;
    }
    let position = position.unwrap_or(0);
    let next = next_position(document.as_table(), position);
    let mut comments = comments.to_owned();
    if !comments.ends_with('\n') {
        comments.push('\n');
    }
    let given = next.is_some_and(|next| prepend(document.as_table_mut(), next, &comments));
    if !given {
        let rest = text(Some(document.trailing())).to_owned();
        document.set_trailing(format!("{comments}{rest}"));
    }
}

/// The lowest position above `position`.
fn next_position(table: &Table, position: isize) -> Option<isize> {
    let own = table.position().filter(|own| *own > position && !table.is_implicit() && !table.is_dotted());
    let below = table.iter().filter_map(|(_, item)| match item {
        Item::Table(inner) => next_position(inner, position),
        Item::ArrayOfTables(tables) => tables.iter().filter_map(|inner| next_position(inner, position)).min(),
        _ => None,
    });
    below.chain(own).min()
}

fn prepend(table: &mut Table, position: isize, comments: &str) -> bool {
    if table.position() == Some(position) && !table.is_implicit() && !table.is_dotted() {
        put_above(table.decor_mut(), comments);
        return true;
    }
    table.iter_mut().any(|(_, item)| match item {
        Item::Table(inner) => prepend(inner, position, comments),
        Item::ArrayOfTables(tables) => tables.iter_mut().any(|inner| prepend(inner, position, comments)),
        _ => false,
    })
}

/// Puts comments above what has this decor.
pub(super) fn put_above(decor: &mut Decor, comments: &str) {
    let prefix = format!("{comments}{}", text(decor.prefix()));
    decor.set_prefix(prefix);
}
