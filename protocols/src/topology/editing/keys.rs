//! Keys of a table: written, taken away, and lists filled and emptied, with the comments beside them.

use crate::topology::{Scalar, Value as Said};
use toml_edit::{Array, InlineTable, Item, TableLike, Value};

use super::layout::{put_above, spaces, text};

/// Writes a key. What stands beside the old value stays.
pub(super) fn set(table: &mut dyn TableLike, key: &str, said: &Said) {
    match (table.get_mut(key), said) {
        // A list keeps its comments: only what is different changes.
        (Some(Item::Value(Value::Array(list))), Said::Numbers(_) | Said::Texts(_)) => {
            let wanted = elements(said);
            for gone in list.iter().filter(|old| !contains(&wanted, old)).cloned().collect::<Vec<_>>() {
                exclude_one(list, &gone);
            }
            wanted.iter().for_each(|value| include_one(list, value));
        }
        (Some(Item::Value(old)), _) => {
            let mut value = value(said);
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        // `[push_server.record]`
        (Some(Item::Table(inner)), Said::Table(wanted)) => {
            let gone: Vec<String> =
                inner.iter().map(|(key, _)| key.to_owned()).filter(|key| !wanted.contains_key(key)).collect();
            gone.iter().for_each(|key| {
                inner.remove(key);
            });
            for (key, said) in wanted {
                match inner.get_mut(key) {
                    Some(Item::Value(old)) => {
                        let mut value = scalar(said);
                        *value.decor_mut() = old.decor().clone();
                        *old = value;
                    }
                    _ => {
                        inner.insert(key, Item::Value(scalar(said)));
                    }
                }
            }
        }
        (present, _) => {
            let fresh = present.is_none();
            let like = table.iter().filter(|(_, item)| item.is_value()).last().map(|(key, _)| key.to_owned());
            let indent = like
                .and_then(|like| table.key(&like).map(|key| text(key.leaf_decor().prefix()).to_owned()))
                .unwrap_or_default();
            table.insert(key, Item::Value(value(said)));
            if fresh && let Some(mut key) = table.key_mut(key) {
                let line = indent.rsplit('\n').next().unwrap_or_default();
                key.leaf_decor_mut().set_prefix(if line.trim().is_empty() { line } else { "" });
            }
        }
    }
}

/// Takes a key away. Returns the comments above it if there is no key behind it that could have them.
pub(super) fn unset(table: &mut dyn TableLike, key: &str) -> String {
    let Some((name, _)) = table.get_key_value(key) else { return String::new() };
    let prefix = text(name.leaf_decor().prefix()).to_owned();
    let next = table
        .iter()
        .map(|(key, _)| key.to_owned())
        .skip_while(|other| other != key)
        .nth(1)
        .filter(|next| table.get(next).is_some_and(Item::is_value));
    table.remove(key);
    if !prefix.contains('#') {
        return String::new();
    }
    let comments: String =
        prefix.lines().filter(|line| line.contains('#')).flat_map(|line| [line, "\n"]).collect();
    match next.as_ref().and_then(|next| table.key_mut(next)) {
        Some(mut next) => {
            put_above(next.leaf_decor_mut(), &comments);
            String::new()
        }
        None => comments,
    }
}

/// Puts elements into a list.
pub(super) fn include(table: &mut dyn TableLike, key: &str, said: &Said) -> Result<(), &'static str> {
    let wanted = listed(said)?;
    match table.get_mut(key) {
        None => set(table, key, said),
        Some(Item::Value(Value::Array(list))) => wanted.iter().for_each(|value| include_one(list, value)),
        Some(_) => return Err("is no list"),
    }
    Ok(())
}

/// Takes elements out of a list.
pub(super) fn exclude(table: &mut dyn TableLike, key: &str, said: &Said) -> Result<(), &'static str> {
    let gone = listed(said)?;
    match table.get_mut(key) {
        None => {}
        Some(Item::Value(Value::Array(list))) => gone.iter().for_each(|value| exclude_one(list, value)),
        Some(_) => return Err("is no list"),
    }
    Ok(())
}

/// Takes a number out of a list.
pub(super) fn exclude_number(list: &mut Array, number: i64) {
    exclude_one(list, &Value::from(number));
}

fn listed(said: &Said) -> Result<Vec<Value>, &'static str> {
    match said {
        Said::Numbers(_) | Said::Texts(_) => Ok(elements(said)),
        _ => Err("is a list; give a list of what to put in or take out"),
    }
}

/// What a list is to hold: each once, whoever says it twice.
fn elements(said: &Said) -> Vec<Value> {
    let all: Vec<Value> = match said {
        Said::Numbers(numbers) => numbers.iter().map(|number| Value::from(*number)).collect(),
        Said::Texts(texts) => texts.iter().map(|text| Value::from(text.as_str())).collect(),
        _ => Vec::new(),
    };
    let mut elements: Vec<Value> = Vec::new();
    for value in all {
        if !contains(&elements, &value) {
            elements.push(value);
        }
    }
    elements
}

fn contains(values: &[Value], wanted: &Value) -> bool {
    values.iter().any(|value| same(value, wanted))
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => one.value() == other.value(),
        (Value::String(one), Value::String(other)) => one.value() == other.value(),
        _ => false,
    }
}

fn include_one(list: &mut Array, value: &Value) {
    if list.iter().any(|old| same(old, value)) {
        return;
    }
    let like = list.iter().last().map(|last| spaces(text(last.decor().prefix())).to_owned());
    let mut value = value.clone();
    // Behind a line break as its neighbours, or on their line.
    let prefix = match like {
        None => String::new(),
        Some(like) if like.contains('\n') => like,
        Some(_) => " ".to_owned(),
    };
    value.decor_mut().set_prefix(prefix);
    // What follows the last element, such as its comment, stands before the closing bracket or in the element's own suffix.
    if let Some(last) = list.iter_mut().last() {
        let suffix = text(last.decor().suffix()).to_owned();
        if !suffix.is_empty() {
            last.decor_mut().set_suffix("");
            value.decor_mut().set_suffix(suffix);
        }
    }
    let comments = text(Some(list.trailing())).to_owned();
    if comments.contains('#') && list.trailing_comma() {
        let end = comments.rfind('\n').unwrap_or(comments.len());
        let above = comments[..end].to_owned();
        list.set_trailing(comments[end..].to_owned());
        put_above(value.decor_mut(), &above);
        if !text(value.decor().prefix())[above.len()..].contains('\n') {
            let prefix = format!("{above}\n{}", &text(value.decor().prefix())[above.len()..]);
            value.decor_mut().set_prefix(prefix);
        }
    }
    list.push_formatted(value);
}

/// Takes `value` out; comments beside it go to what comes next in the list.
fn exclude_one(list: &mut Array, value: &Value) {
    loop {
        let place = list.iter().position(|old| same(old, value));
        let Some(index) = place else { return };
        let gone = list.remove(index);
        let decor = gone.decor();
        let beside = format!("{}{}", text(decor.prefix()), text(decor.suffix()));
        if beside.contains('#') {
            let beside = if beside.ends_with('\n') { beside } else { format!("{}\n", beside.trim_end()) };
            if let Some(next) = list.get_mut(index) {
                let rest = text(next.decor().prefix()).trim_start_matches('\n').to_owned();
                next.decor_mut().set_prefix(format!("{beside}{rest}"));
            } else {
                let rest = text(Some(list.trailing())).trim_start_matches('\n').to_owned();
                list.set_trailing(format!("{beside}{rest}"));
            }
        } else if index == 0
            && let Some(first) = list.get_mut(0)
            && text(first.decor().prefix()) == " "
        {
            first.decor_mut().set_prefix(text(decor.prefix()));
        }
    }
}

fn value(said: &Said) -> Value {
    match said {
        Said::Truth(truth) => (*truth).into(),
        Said::Number(number) => (*number).into(),
        Said::Text(text) => text.as_str().into(),
        Said::Numbers(_) | Said::Texts(_) => Value::Array(elements(said).into_iter().collect()),
        Said::Table(table) => {
            let mut inline = InlineTable::new();
            for (key, said) in table {
                inline.insert(key, scalar(said));
            }
            Value::InlineTable(inline)
        }
    }
}

fn scalar(said: &Scalar) -> Value {
    match said {
        Scalar::Truth(truth) => (*truth).into(),
        Scalar::Number(number) => (*number).into(),
        Scalar::Text(text) => text.as_str().into(),
    }
}
