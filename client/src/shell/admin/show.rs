//! Answers, for people and for programs.

use std::fmt::Write;

use jiff::tz::TimeZone;
use protocols::administration::Answer;
use protocols::time::ClusterTime;
use serde_json::{Value, json};

use crate::listing::{Colour, printable};

/// For people.
pub(super) fn text(answer: &Answer, colour: Colour) -> String {
    match answer {
        Answer::Done => "done\n".to_owned(),
        // As it is in the file, so that it can be kept and compared.
        Answer::Topology { text, .. } => text.clone(),
        Answer::Edited { difference, warnings, .. } => {
            let mut text = if difference.is_empty() {
                "nothing changes\n".to_owned()
            } else {
                coloured(difference, colour)
            };
            for warning in warnings {
                let _ = writeln!(text, "warning: {}", printable(warning));
            }
            text
        }
        Answer::Commanded { id } => format!("command {id} waits for the server's next poll\n"),
        Answer::Recorded(entry) => format!("recording {} is ordered\n", entry.id),
        Answer::Accounts(accounts) => {
            let mut text = String::new();
            for account in accounts {
                let changed = when(account.changed_ms);
                let _ = writeln!(
                    text,
                    "{:<32}  {:<9}  changed {changed}",
                    printable(&account.name),
                    account.role
                );
            }
            text
        }
        Answer::Audit(lines) => {
            let mut text = String::new();
            for line in lines {
                let at = when(line.at_ms);
                let [who, origin, what, outcome] =
                    [&line.who, &line.origin, &line.what, &line.outcome].map(|field| printable(field));
                let _ = writeln!(text, "{:>6}  {at}  {who} from {origin}: {what}: {outcome}", line.id);
            }
            text
        }
        Answer::Status(json) => format!("{}\n", pretty(json)),
    }
}

/// For programs.
pub(super) fn json(answer: &Answer) -> String {
    let value = match answer {
        Answer::Done => json!({"done": true}),
        Answer::Topology { revision, text } => json!({"revision": revision, "text": text}),
        Answer::Edited { revision, difference, warnings } => {
            json!({"revision": revision, "difference": difference, "warnings": warnings})
        }
        Answer::Commanded { id } => json!({"command": id}),
        Answer::Recorded(entry) => json!({"id": entry.id.0}),
        Answer::Accounts(accounts) => json!({"accounts": accounts}),
        Answer::Audit(lines) => json!({"audit": lines}),
        Answer::Status(json) => serde_json::from_str(json).unwrap_or(Value::Null),
    };
    format!("{value}\n")
}

fn pretty(json: &str) -> String {
    let value: Option<Value> = serde_json::from_str(json).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_default()
}

fn when(ms: u64) -> String {
    crate::when::local(ClusterTime(ms), &TimeZone::system())
}

/// A unified diff with what goes in red and what comes in green.
fn coloured(difference: &str, colour: Colour) -> String {
    let mut text = String::new();
    for line in difference.lines() {
        let shown = printable(line);
        let paint = match line.as_bytes().first() {
            Some(b'+') => "32",
            Some(b'-') => "31",
            Some(b'@') => "36",
            _ => "",
        };
        let _ = if paint.is_empty() || matches!(colour, Colour::Off) {
            writeln!(text, "{shown}")
        } else {
            writeln!(text, "\x1b[{paint}m{shown}\x1b[0m")
        };
    }
    text
}
