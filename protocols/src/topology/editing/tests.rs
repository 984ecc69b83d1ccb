use crate::topology::{Topology, Value};
use proptest::prelude::*;

use super::*;

const FILE: &str = r#"# A hotel.

[database_server]
address = "10.0.0.2"  # by the lift

# ---- Sources ----

[[acquisition_server]]
id = "roof"
  [[acquisition_server.input]]
  id  = "mux-5"   # the good dish
  url = "testcard:"

  # second dish
  [[acquisition_server.input]]
  id = "mux-6"
  url = "udp://239.192.9.1:5004"

[[acquisition_server]]
id = "yard"

# ---- Channels ----

# News
[[channel]]
id = 1
name = "One"
acquisition_server = "roof"
input = "mux-5"

[[channel]]
id = 2
# to be renamed
name = "Two"  # soon
acquisition_server = "roof"
input = "mux-6"
service = 4164

# ---- Halls ----

[[push_server]]
id = "hall"
address = "10.0.1.1"
channels = [
  1,  # news
  2,  # sport
]
record = { keep = "7d" }
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "10.0.1.1"
  serves = ["10.0.1.0/24"]  # first floor

[[push_server]]
id = "cellar"
address = "10.0.2.1"
channels = [1, 2]
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "10.0.2.1"
  serves = ["10.0.2.0/24"]
# end
"#;

fn edits(json: &str) -> Vec<Edit> {
    serde_json::from_str(json).unwrap()
}

fn edited(json: &str) -> Result<String, String> {
    apply("topology.toml", FILE, &edits(json)).map(|edited| edited.text).map_err(|error| error.to_string())
}

/// The lines of the difference that were taken away and put in.
fn changes(json: &str) -> Vec<String> {
    let text = edited(json).unwrap();
    difference("topology.toml", FILE, &text)
        .lines()
        .skip(2)
        .filter(|line| line.starts_with(['+', '-']))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_channel_is_added_behind_the_others_and_looks_as_they_do() {
    let change = r#"[{"add": {"table": {"channel": 7}, "keys": {"name": "Seven", "acquisition_server": "roof", "input": "mux-5"}}},
        {"change": {"table": {"push_server": "cellar"}, "include": {"channels": [7]}}}]"#;
    let expected = [
        "+",
        "+[[channel]]",
        "+id = 7",
        "+acquisition_server = \"roof\"",
        "+input = \"mux-5\"",
        "+name = \"Seven\"",
        "-channels = [1, 2]",
        "+channels = [1, 2, 7]",
    ];
    let got = changes(change);
    assert_eq!(got.len(), expected.len(), "{got:#?}");
    assert!(expected.iter().all(|line| got.contains(&(*line).to_owned())), "{got:#?}");
    let text = edited(change).unwrap();
    assert!(text.contains("service = 4164\n\n[[channel]]\nid = 7\n"), "{text}");
    assert!(text.contains("name = \"Seven\"\n\n# ---- Halls ----\n"), "{text}");
}

#[test]
fn inputs_and_destinations_are_added_and_indented_as_their_neighbours() {
    let text = edited(
        r#"[{"add": {"table": {"input": {"acquisition_server": "roof", "id": "mux-7"}}, "keys": {"url": "testcard:"}}},
            {"add": {"table": {"input": {"acquisition_server": "yard", "id": "cam"}}, "keys": {"url": "testcard:"}}}]"#,
    )
    .unwrap();
    assert!(text.contains("5004\"\n\n  [[acquisition_server.input]]\n  id = \"mux-7\"\n  url = \"testcard:\"\n\n[[acquisition_server]]\nid = \"yard\"\n"), "{text}");
    assert!(text.contains("id = \"yard\"\n\n  [[acquisition_server.input]]\n  id = \"cam\"\n  url = \"testcard:\"\n\n# ---- Channels"), "{text}");
}

#[test]
fn a_change_touches_its_own_line_and_keeps_the_comment_beside_it() {
    assert_eq!(
        changes(r#"[{"change": {"table": {"channel": 2}, "set": {"name": "Deux"}}}]"#),
        ["-name = \"Two\"  # soon", "+name = \"Deux\"  # soon"]
    );
    assert_eq!(
        changes(
            r#"[{"change": {"table": {"push_server": "hall"}, "exclude": {"channels": [2]}, "unset": ["record"]}}]"#
        ),
        ["-  2,  # sport", "+  # sport", "-record = { keep = \"7d\" }"]
    );
    assert_eq!(
        changes(r#"[{"change": {"table": "database_server", "set": {"http_port": 80}}}]"#),
        ["+http_port = 80"]
    );
    assert_eq!(
        changes(
            r#"[{"change": {"table": {"destination": {"push_server": "hall", "address": "239.192.1.1"}}, "set": {"ttl": 3}}}]"#
        ),
        ["+  ttl = 3"]
    );
}

#[test]
fn comments_above_an_unset_key_stay() {
    assert_eq!(
        changes(r#"[{"change": {"table": {"channel": 2}, "unset": ["service"]}}]"#),
        ["-service = 4164"]
    );
    let text =
        edited(r#"[{"change": {"table": {"channel": 2}, "unset": ["name"], "set": {"name": "Zwei"}}}]"#)
            .unwrap();
    assert!(text.contains("# to be renamed\nacquisition_server"), "{text}");
}

#[test]
fn a_channel_goes_with_its_own_comments_and_from_all_lists() {
    let text = edited(r#"[{"remove": {"table": {"channel": 1}}}]"#).unwrap();
    assert!(
        text.contains("# ---- Channels ----\n\n\n[[channel]]\nid = 2")
            || text.contains("# ---- Channels ----\n\n[[channel]]\nid = 2"),
        "{text}"
    );
    assert!(
        !text.contains("# News\n") && text.contains("# news\n") && text.contains("channels = [2]"),
        "{text}"
    );
}

#[test]
fn a_push_server_goes_with_its_destinations() {
    let text = edited(r#"[{"remove": {"table": {"push_server": "hall"}}}]"#).unwrap();
    assert!(text.contains("# ---- Halls ----") && !text.contains("first floor"), "{text}");
    let (topology, _) = Topology::parse("t", &text).unwrap();
    assert_eq!(topology.hosts.len(), 1);
}

#[test]
fn a_backup_is_added_to_its_channel_changed_and_removed() {
    let add = r#"{"add": {"table": {"backup": {"channel": 2, "input": "mux-9"}}, "keys": {"service": 7}}}"#;
    let input = r#"{"add": {"table": {"input": {"acquisition_server": "roof", "id": "mux-9"}}, "keys": {"url": "testcard:"}}}"#;
    let text = edited(&format!("[{input}, {add}]")).unwrap();
    assert!(text.contains("\n  [[channel.backup]]\n  input = \"mux-9\"\n  service = 7\n"), "{text}");
    let rank = r#"{"change": {"table": {"backup": {"channel": 2, "input": "mux-9"}}, "unset": ["service"]}}"#;
    let text = edited(&format!("[{input}, {add}, {rank}]")).unwrap();
    assert!(text.contains("input = \"mux-9\"\n") && !text.contains("service = 7"), "{text}");
    let away = r#"{"remove": {"table": {"backup": {"channel": 2, "input": "mux-9"}}}}"#;
    let text = edited(&format!("[{input}, {add}, {away}]")).unwrap();
    assert!(!text.contains("backup"), "{text}");
    let whole = r#"{"change": {"table": {"channel": 2}, "set": {"backup": "mux-9"}}}"#;
    assert!(edited(&format!("[{whole}]")).unwrap_err().contains("these are tables"));
}

#[test]
fn an_input_moves_to_another_server_with_its_comment() {
    let text = edited(
        r#"[{"move": {"table": {"input": {"acquisition_server": "roof", "id": "mux-6"}}, "into": {"acquisition_server": "yard"}}},
            {"change": {"table": {"channel": 2}, "set": {"acquisition_server": "yard"}}}]"#,
    )
    .unwrap();
    assert!(
        text.contains("id = \"yard\"\n  # second dish\n  [[acquisition_server.input]]\n  id = \"mux-6\"\n"),
        "{text}"
    );
}

#[test]
fn a_push_server_moves_before_another_with_all_that_is_its() {
    let text =
        edited(r#"[{"move": {"table": {"push_server": "cellar"}, "before": {"push_server": "hall"}}}]"#)
            .unwrap();
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} in {text}"));
    assert!(at("id = \"cellar\"") < at("10.0.2.0/24") && at("10.0.2.0/24") < at("id = \"hall\""), "{text}");
    assert_eq!(Topology::parse("t", &text).unwrap().0, Topology::parse("t", FILE).unwrap().0);
    let back = apply(
        "t",
        &text,
        &edits(r#"[{"move": {"table": {"push_server": "hall"}, "before": {"push_server": "cellar"}}}]"#),
    );
    assert_eq!(Topology::parse("t", &back.unwrap().text).unwrap().0, Topology::parse("t", FILE).unwrap().0);
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    for (json, reason) in [
        (r#"[{"remove": {"table": {"channel": 9}}}]"#, "the topology has no channel:9"),
        (r#"[{"add": {"table": {"channel": 1}}}]"#, "has channel:1 already"),
        (r#"[{"add": {"table": {"channel": 9}, "keys": {"id": 9}}}]"#, "no key to be given"),
        (r#"[{"add": {"table": {"channel": 9}}}]"#, "missing key `name` in [[channel]]"),
        (r#"[{"change": {"table": {"channel": 1}, "set": {"nmae": "x"}}}]"#, "unknown key `nmae`"),
        (
            r#"[{"change": {"table": {"push_server": "hall"}, "set": {"destination": []}}}]"#,
            "these are tables",
        ),
        (r#"[{"change": {"table": {"push_server": "hall"}, "include": {"address": [1]}}}]"#, "is no list"),
        (r#"[{"remove": {"table": {"acquisition_server": "roof"}}}]"#, "roof"),
        (
            r#"[{"move": {"table": {"channel": 1}, "before": {"push_server": "hall"}}}]"#,
            "cannot be moved before",
        ),
        (r#"[{"move": {"table": {"channel": 1}, "into": {"push_server": "hall"}}}]"#, "cannot be moved into"),
        ("[]", "0 edits"),
    ] {
        let refused = edited(json).unwrap_err();
        assert!(refused.contains(reason), "{json}: {refused}");
    }
}

#[test]
fn tables_in_braces_are_edited_in_their_braces() {
    let text = r#"
database_server = { address = "10.0.0.2" }
channel = [{ id = 1, name = "One", acquisition_server = "roof", input = "a" }]
acquisition_server = [{ id = "roof", input = [{ id = "a", url = "testcard:" }] }]
"#;
    let edits = edits(
        r#"[{"add": {"table": {"input": {"acquisition_server": "roof", "id": "b"}}, "keys": {"url": "testcard:"}}},
            {"add": {"table": {"channel": 2}, "keys": {"name": "Two", "acquisition_server": "roof", "input": "b"}}},
            {"change": {"table": "database_server", "set": {"http_port": 80}}},
            {"move": {"table": {"channel": 2}, "before": {"channel": 1}}},
            {"remove": {"table": {"channel": 1}}}]"#,
    );
    let edited = apply("t", text, &edits).unwrap();
    assert_eq!(edited.topology.channels.len(), 1);
    assert_eq!(edited.topology.database_server.http_port, 80);
}

/// The file as plain data: what edits mean, without any layout.
mod model {
    use super::*;
    use serde_json::{Map, Value as Json, json};

    pub(super) fn of(text: &str) -> Json {
        let document: DocumentMut = text.parse().unwrap();
        table(document.as_table())
    }

    fn table(table: &dyn TableLike) -> Json {
        Json::Object(table.iter().map(|(key, value)| (key.to_owned(), item(value))).collect())
    }

    fn item(item: &Item) -> Json {
        match item {
            Item::Table(inner) => table(inner),
            Item::ArrayOfTables(tables) => tables.iter().map(|inner| table(inner)).collect(),
            Item::Value(inner) => value(inner),
            Item::None => Json::Null,
        }
    }

    fn value(value: &toml_edit::Value) -> Json {
        use toml_edit::Value as Toml;
        match value {
            Toml::Integer(number) => json!(number.value()),
            Toml::String(text) => json!(text.value()),
            Toml::Boolean(truth) => json!(truth.value()),
            Toml::Array(array) => array.iter().map(self::value).collect(),
            Toml::InlineTable(inner) => table(inner),
            other => json!(other.to_string()),
        }
    }

    fn list<'j>(document: &'j mut Json, name: &TableName) -> &'j mut Vec<Json> {
        let (owner, key) = match name {
            TableName::Channel(_) => (document, "channel"),
            TableName::AcquisitionServer(_) => (document, "acquisition_server"),
            TableName::PushServer(_) => (document, "push_server"),
            TableName::Input { acquisition_server, .. } => {
                (find(document, &TableName::AcquisitionServer(acquisition_server.clone())), "input")
            }
            TableName::Destination { push_server, .. } => {
                (find(document, &TableName::PushServer(push_server.clone())), "destination")
            }
            TableName::Backup { channel, .. } => (find(document, &TableName::Channel(*channel)), "backup"),
            TableName::DatabaseServer => unreachable!(),
        };
        owner.as_object_mut().unwrap().entry(key).or_insert_with(|| json!([])).as_array_mut().unwrap()
    }

    fn is(table: &Json, name: &TableName) -> bool {
        match name {
            TableName::Channel(id) => table["id"] == json!(id.0),
            TableName::AcquisitionServer(id) => table["id"] == json!(id.as_str()),
            TableName::PushServer(id) => table["id"] == json!(id.as_str()),
            TableName::Input { id, .. } => table["id"] == json!(id.as_str()),
            TableName::Destination { address, .. } => table["address"] == json!(address),
            TableName::Backup { input, .. } => table["input"] == json!(input.as_str()),
            TableName::DatabaseServer => false,
        }
    }

    fn find<'j>(document: &'j mut Json, name: &TableName) -> &'j mut Json {
        if *name == TableName::DatabaseServer {
            return &mut document["database_server"];
        }
        list(document, name).iter_mut().find(|table| is(table, name)).unwrap()
    }

    /// A list names each once.
    fn said(value: &Value) -> Json {
        let mut said = serde_json::to_value(value).unwrap();
        if let Json::Array(list) = &mut said {
            let mut known: Vec<Json> = Vec::new();
            list.retain(|element| {
                let is_new = !known.contains(element);
                known.extend(is_new.then(|| element.clone()));
                is_new
            });
        }
        said
    }

    /// Carries out an edit that was accepted.
    pub(super) fn carry_out(document: &mut Json, edit: &Edit) {
        match edit {
            Edit::Add { table, keys } => {
                let mut fresh: Map<String, Json> =
                    keys.iter().map(|(key, value)| (key.clone(), said(value))).collect();
                let id = match table {
                    TableName::Channel(id) => ("id", json!(id.0)),
                    TableName::Input { id, .. } => ("id", json!(id.as_str())),
                    TableName::Destination { address, .. } => ("address", json!(address)),
                    TableName::Backup { input, .. } => ("input", json!(input.as_str())),
                    TableName::AcquisitionServer(id) => ("id", json!(id.as_str())),
                    TableName::PushServer(id) => ("id", json!(id.as_str())),
                    TableName::DatabaseServer => unreachable!(),
                };
                fresh.insert(id.0.to_owned(), id.1);
                list(document, table).push(Json::Object(fresh));
            }
            Edit::Change { table, set, unset, include, exclude } => {
                let target = find(document, table).as_object_mut().unwrap();
                unset.iter().for_each(|key| {
                    target.remove(key);
                });
                for (key, value) in set {
                    target.insert(key.clone(), said(value));
                }
                for (key, value) in include {
                    let list = target.entry(key).or_insert_with(|| json!([])).as_array_mut().unwrap();
                    for element in said(value).as_array().unwrap() {
                        if !list.contains(element) {
                            list.push(element.clone());
                        }
                    }
                }
                for (key, value) in exclude {
                    if let Some(list) = target.get_mut(key) {
                        list.as_array_mut()
                            .unwrap()
                            .retain(|old| !said(value).as_array().unwrap().contains(old));
                    }
                }
            }
            Edit::Move { table, into, .. } => {
                let moved = find(document, table).clone();
                list(document, table).retain(|other| !is(other, table));
                let target = into.as_ref().map_or(table.clone(), |into| spot::renamed(table, into).unwrap());
                list(document, &target).push(moved);
            }
            Edit::Remove { table } => {
                list(document, table).retain(|other| !is(other, table));
                if let TableName::Channel(id) = table {
                    for host in
                        document.get_mut("push_server").and_then(Json::as_array_mut).into_iter().flatten()
                    {
                        if let Some(channels) = host.get_mut("channels").and_then(Json::as_array_mut) {
                            channels.retain(|other| *other != json!(id.0));
                        }
                    }
                }
            }
        }
    }

    /// The order of tables and of lists means nothing.
    pub(super) fn sorted(json: &Json) -> Json {
        match json {
            Json::Object(map) => {
                let full = map.iter().filter(|(_, value)| !value.as_array().is_some_and(Vec::is_empty));
                Json::Object(full.map(|(key, value)| (key.clone(), sorted(value))).collect())
            }
            Json::Array(array) => {
                let mut array: Vec<Json> = array.iter().map(sorted).collect();
                array.sort_by_key(ToString::to_string);
                Json::Array(array)
            }
            other => other.clone(),
        }
    }
}

fn some_table() -> impl Strategy<Value = TableName> {
    let input = |server: &str, id: u8| format!("input:{server}/mux-{id}");
    prop_oneof![
        (1u32..6).prop_map(|id| format!("channel:{id}")),
        (prop::sample::select(vec!["roof", "yard"]), 5u8..9).prop_map(move |(server, id)| input(server, id)),
        prop::sample::select(vec!["roof", "yard", "attic"]).prop_map(|id| format!("acquisition-server:{id}")),
        prop::sample::select(vec!["hall", "cellar", "bar"]).prop_map(|id| format!("push-server:{id}")),
        (prop::sample::select(vec!["hall", "cellar"]), 1u8..4)
            .prop_map(|(host, group)| format!("destination:{host}/239.192.1.{group}")),
    ]
    .prop_map(|text| text.parse().unwrap())
}

fn some_keys() -> impl Strategy<Value = Keys> {
    let key = prop_oneof![
        (1i64..9).prop_map(|n| ("service".to_owned(), Value::Number(n))),
        "[a-z]{1,8}".prop_map(|name| ("name".to_owned(), Value::Text(name))),
        (0i64..70_000).prop_map(|port| ("port".to_owned(), Value::Number(port))),
        (5u8..9).prop_map(|id| ("input".to_owned(), Value::Text(format!("mux-{id}")))),
        prop::sample::select(vec!["roof", "yard"])
            .prop_map(|id| ("acquisition_server".to_owned(), Value::Text(id.to_owned()))),
        Just(("url".to_owned(), Value::Text("testcard:".to_owned()))),
        (1u8..9).prop_map(|n| ("address".to_owned(), Value::Text(format!("10.0.1.{n}")))),
        (1u8..5).prop_map(|n| ("serves".to_owned(), Value::Texts(vec![format!("10.0.{n}.0/24")]))),
        (1u8..5).prop_map(|n| ("interface".to_owned(), Value::Text(format!("10.0.{n}.1")))),
        prop::collection::vec(1i64..6, 0..3).prop_map(|list| ("channels".to_owned(), Value::Numbers(list))),
        "[a-z\"#\\\\\n]{0,6}".prop_map(|text| ("nonsense".to_owned(), Value::Text(text))),
    ];
    prop::collection::vec(key, 0..5).prop_map(|keys| keys.into_iter().collect())
}

fn some_edit() -> impl Strategy<Value = Edit> {
    let lists = || {
        prop::option::of(prop::collection::vec(1i64..6, 1..3)).prop_map(|list| -> Keys {
            list.map(|list| ("channels".to_owned(), Value::Numbers(list))).into_iter().collect()
        })
    };
    let unset = prop::collection::vec(prop::sample::select(vec!["service", "name", "record", "port"]), 0..2);
    prop_oneof![
        // Complete channels, so that enough of all edits are accepted.
        (1u32..9, "[a-z]{1,8}").prop_map(|(id, name)| Edit::Add {
            table: format!("channel:{id}").parse().unwrap(),
            keys: [("name", name.as_str()), ("acquisition_server", "roof"), ("input", "mux-5")]
                .map(|(key, value)| (key.to_owned(), Value::Text(value.to_owned())))
                .into(),
        }),
        (some_table(), some_keys()).prop_map(|(table, keys)| Edit::Add { table, keys }),
        (some_table(), some_keys(), unset, lists(), lists()).prop_map(
            |(table, set, unset, include, exclude)| {
                Edit::Change {
                    table,
                    set,
                    unset: unset.into_iter().map(str::to_owned).collect(),
                    include,
                    exclude,
                }
            }
        ),
        (some_table(), prop::option::of(some_table()), prop::option::of(some_table()))
            .prop_map(|(table, into, before)| Edit::Move { table, into, before }),
        some_table().prop_map(|table| Edit::Remove { table }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Goal: whatever is asked, the file parses and means what the edits say, and comments that are nobody's stay.
    #[test]
    fn random_edits_mean_what_they_say_and_lose_no_comment(edits in prop::collection::vec(some_edit(), 1..25)) {
        let mut text = FILE.to_owned();
        for edit in edits {
            let before = model::of(&text);
            let Ok(edited) = apply("topology.toml", &text, std::slice::from_ref(&edit)) else { continue };
            let mut expected = before;
            model::carry_out(&mut expected, &edit);
            prop_assert_eq!(model::sorted(&model::of(&edited.text)), model::sorted(&expected), "{:?}\n{}", edit, edited.text);
            for banner in ["# A hotel.", "# ---- Sources ----", "# ---- Channels ----", "# ---- Halls ----", "# end"] {
                prop_assert!(edited.text.contains(banner), "{} after {:?} in\n{}", banner, edit, edited.text);
            }
            // Only what is removed, or a key that is unset, takes a comment with it.
            if !matches!(edit, Edit::Remove { .. }) && !matches!(&edit, Edit::Change { unset, .. } if !unset.is_empty()) {
                let comments = |text: &str| text.matches('#').count();
                prop_assert!(comments(&edited.text) >= comments(&text), "{:?}\n{}", edit, edited.text);
            }
            text = edited.text;
        }
    }
}
