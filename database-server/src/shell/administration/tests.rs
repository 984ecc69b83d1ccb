//! Administration by both doors, over real sockets: P2 by TLS, and the API as a browser or a program would call it.
#![expect(clippy::disallowed_methods, reason = "peers made by hand have sockets and tasks of their own")]
#![expect(clippy::format_push_string, reason = "a request is written as it goes over the wire")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use link::shutdown::Shutdown;
use link::{key_file, tls};
use protocols::administration::{Answer, Failure, KEY_LOG_IN, Operation, Request, Role, Secret};
use protocols::authority::ClusterKey;
use protocols::codec::{self, decode_message};
use protocols::p2_directory::{ToClient, ToDatabase};
use protocols::preamble::{MAX_P2_ANSWER_BYTES, Protocol};
use protocols::recording::{RecordingId, Span};
use protocols::time::ClusterTime;
use protocols::topology::Edit;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::shell::{Bound, Error, Options, Ports, Source, run};

/// No wait of a test is longer.
const PATIENCE: Duration = Duration::from_mins(1);
const PASSWORD: &str = "correct horse battery";

const TOPOLOGY: &str = r#"# The site.
[database_server]
address = "127.0.0.1"

[[acquisition_server]]
id = "roof"
  [[acquisition_server.input]]
  id = "card"   # the built-in clip
  url = "testcard:"

[[channel]]
id = 1
name = "One"
acquisition_server = "roof"
input = "card"

[[push_server]]
id = "hall"
address = "127.0.0.1"
channels = [1]
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "127.0.0.1"
  serves = ["127.0.0.0/8"]
"#;

struct Site {
    bound: Bound,
    key: ClusterKey,
    shutdown: Shutdown,
    server: JoinHandle<Result<(), Error>>,
    folder: tempfile::TempDir,
}

impl Site {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("topology.toml");
        std::fs::write(&file, TOPOLOGY).unwrap();
        Self::of(folder, Source::File(file)).await
    }

    async fn of(folder: tempfile::TempDir, topology: Source) -> Self {
        let key = key_file::make(&folder.path().join(key_file::FILE_NAME)).unwrap();
        let (ready, bound) = oneshot::channel();
        let options = Options {
            topology,
            data: folder.path().to_owned(),
            cluster_key: None,
            listen: Some("127.0.0.1".parse().unwrap()),
            ports: Ports::Any,
            announce: false,
            certificate: None,
            ready: Some(ready),
        };
        let shutdown = Shutdown::new();
        let server = tokio::task::spawn(run(options, shutdown.clone()));
        let bound = timeout(PATIENCE, bound).await.unwrap().expect("it starts");
        Self { bound, key, shutdown, server, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("topology.toml")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    async fn door(&self) -> Door {
        let stream = TcpStream::connect(self.bound.directory).await.unwrap();
        let (mut stream, _) = tls::connect(stream).await.unwrap();
        link::frames::open(&mut stream, Protocol::Directory).await.unwrap();
        Door { stream }
    }

    /// Somebody who holds the cluster key.
    async fn founder(&self) -> Door {
        let mut door = self.door().await;
        let exporter = tls::exporter(door.stream.get_ref().1).unwrap();
        let proof = self.key.administration_key().tag(KEY_LOG_IN, &[&exporter]).0;
        let answer = door.say(&ToDatabase::LogInByKey { proof }).await;
        assert!(matches!(answer, ToClient::LoggedIn { role: Role::Superuser, .. }), "{answer:?}");
        door
    }

    /// Makes an account for each role, called like it.
    async fn accounts(&self) {
        let mut founder = self.founder().await;
        for role in Role::ALL {
            let (name, password) = (role.to_string(), Secret(PASSWORD.to_owned()));
            founder.ask(Request::AddAccount { name, role, password }).await.unwrap();
        }
    }

    /// Logs in at the console.
    async fn page(&self, name: &str) -> Page {
        let mut page = Page { address: self.bound.console, cookie: None, token: None };
        let reply = page.call("POST", "session", Some(json!({"name": name, "password": PASSWORD}))).await;
        assert_eq!(reply.status, 200, "{:?}", reply.json);
        page.cookie = reply.cookie;
        page.token = reply.json["token"].as_str().map(str::to_owned);
        page
    }

    async fn end(self) {
        self.shutdown.request();
        timeout(PATIENCE, self.server).await.expect("it ends").unwrap().unwrap();
    }
}

/// A connection of P2 by TLS.
struct Door {
    stream: tokio_rustls::client::TlsStream<TcpStream>,
}

impl Door {
    async fn say(&mut self, message: &ToDatabase) -> ToClient {
        link::frames::write_frame(&mut self.stream, &codec::encode(message)).await.unwrap();
        loop {
            let frame = link::frames::read_frame(&mut self.stream, MAX_P2_ANSWER_BYTES);
            let body =
                timeout(PATIENCE, frame).await.expect("an answer").unwrap().expect("an open connection");
            match decode_message::<ToClient, MAX_P2_ANSWER_BYTES>(&body).unwrap() {
                ToClient::Pong => {}
                message => return message,
            }
        }
    }

    async fn log_in(&mut self, name: &str, password: &str) -> Result<Role, Failure> {
        let password = Secret(password.to_owned());
        match self.say(&ToDatabase::LogIn { name: name.to_owned(), password }).await {
            ToClient::LoggedIn { role, .. } => Ok(role),
            ToClient::AdministrationRefused(failure) => Err(*failure),
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&mut self, request: Request) -> Result<Answer, Failure> {
        match self.say(&ToDatabase::Administer(Box::new(request))).await {
            ToClient::Administered(answer) => Ok(*answer),
            ToClient::AdministrationRefused(failure) => Err(*failure),
            other => panic!("{other:?}"),
        }
    }

    async fn topology(&mut self) -> (String, String) {
        match self.ask(Request::Topology).await.unwrap() {
            Answer::Topology { revision, text } => (revision, text),
            other => panic!("{other:?}"),
        }
    }
}

/// A browser's page, or a program.
struct Page {
    address: SocketAddr,
    cookie: Option<String>,
    token: Option<String>,
}

struct Reply {
    status: u16,
    cookie: Option<String>,
    head: String,
    json: Value,
}

impl Page {
    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.call_with(method, path, body, "").await
    }

    async fn call_with(&self, method: &str, path: &str, body: Option<Value>, headers: &str) -> Reply {
        let mut request =
            format!("{method} /api/v1/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        if let Some(cookie) = &self.cookie {
            request.push_str(&format!("Cookie: theme=dark; {cookie}\r\n"));
        }
        if let Some(token) = &self.token {
            request.push_str(&format!("X-Masthead-Token: {token}\r\n"));
        }
        request.push_str(headers);
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        request.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer").unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        Reply {
            status: head[9..12].parse().unwrap(),
            cookie: cookie.and_then(|line| line.split(';').next()).map(str::to_owned),
            head: head.to_owned(),
            json: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }
}

fn rename(name: &str) -> Vec<Edit> {
    serde_json::from_value(json!([{"change": {"table": {"channel": 1}, "set": {"name": name}}}])).unwrap()
}

/// One request of each operation that takes an account, harmless where it may be, and the same by the API.
fn samples() -> Vec<(Request, &'static str, String, Option<Value>)> {
    let edit = json!({"base": "none", "edits": [], "trial": true});
    let restart = json!({"restart_input": "nothing"});
    let secret = || Secret("x".to_owned());
    let nobody = || "nobody".to_owned();
    let span = Span { from: ClusterTime(1), to: ClusterTime(2) };
    let record = json!({"channel": 99, "from_ms": 1, "to_ms": 2, "title": "t"});
    let account = json!({"name": "nobody", "password": "x", "role": "viewer"});
    let acquisition_server = || "roof".parse().unwrap();
    vec![
        (Request::Topology, "GET", "topology".into(), None),
        (
            Request::Edit { base: "none".into(), edits: vec![], trial: true },
            "POST",
            "topology".into(),
            Some(edit),
        ),
        (Request::Reload, "POST", "topology/reload".into(), None),
        (
            Request::RestartInput {
                acquisition_server: acquisition_server(),
                input: "nothing".parse().unwrap(),
            },
            "POST",
            "acquisition-servers/roof/commands".into(),
            Some(restart),
        ),
        (
            Request::Drain { push_server: "nowhere".parse().unwrap(), draining: true },
            "POST",
            "push-servers/nowhere/drain".into(),
            Some(json!({"draining": true})),
        ),
        (
            Request::Record { channel: protocols::ids::ChannelId(99), span, title: "t".into() },
            "POST",
            "recordings".into(),
            Some(record),
        ),
        (Request::DeleteRecording { id: RecordingId(99) }, "DELETE", "recordings/99".into(), None),
        (Request::Accounts, "GET", "accounts".into(), None),
        (
            Request::AddAccount { name: nobody(), role: Role::Viewer, password: secret() },
            "POST",
            "accounts".into(),
            Some(account),
        ),
        (Request::RemoveAccount { name: nobody() }, "DELETE", "accounts/nobody".into(), None),
        (
            Request::SetRole { name: nobody(), role: Role::Viewer },
            "PATCH",
            "accounts/nobody".into(),
            Some(json!({"role": "viewer"})),
        ),
        (
            Request::SetPassword { name: nobody(), password: secret() },
            "PATCH",
            "accounts/nobody".into(),
            Some(json!({"password": "x"})),
        ),
        (Request::Audit { before: None, limit: 1 }, "GET", "audit".into(), None),
        (Request::Status, "GET", "site".into(), None),
    ]
}

/// Goal: the one list of operations holds at both doors, for everybody.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_open_to_the_roles_of_the_list_at_both_doors_and_to_nobody_else() {
    let site = Site::start().await;
    site.accounts().await;
    let mut seen = std::collections::BTreeSet::new();
    for role in [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Superuser)] {
        let mut door = site.door().await;
        let page = match role {
            None => Page { address: site.bound.console, cookie: None, token: None },
            Some(role) => {
                assert_eq!(door.log_in(role.name(), PASSWORD).await, Ok(role));
                site.page(role.name()).await
            }
        };
        for (request, method, path, body) in samples() {
            let operation = request.operation();
            seen.insert(operation);
            let by_p2 = door.ask(request).await;
            let refused = matches!(by_p2, Err(Failure::Role(_) | Failure::NotLoggedIn));
            // P2 knows no readers without an account here: they have their own messages.
            let allowed = operation.is_allowed(role, false);
            assert_eq!(!refused, allowed, "P2: {operation:?} as {role:?}: {by_p2:?}");
            let by_api = page.call(method, &path, body).await;
            let refused = by_api.status == 401 || by_api.json["error"]["code"] == "forbidden";
            let allowed = operation.is_allowed(role, true);
            assert_eq!(
                !refused, allowed,
                "API: {method} {path} as {role:?}: {} {}",
                by_api.status, by_api.json
            );
            assert!(
                by_api.status != 404 || by_api.json["error"]["code"] == "unknown",
                "{method} {path}: no such route"
            );
        }
    }
    for (path, operation) in [("recordings", Operation::ReadRecordings), ("events", Operation::ReadJournal)] {
        let anybody = Page { address: site.bound.console, cookie: None, token: None };
        assert_eq!(anybody.call("GET", path, None).await.status, 200, "{path}");
        seen.insert(operation);
    }
    // Shown by a test of its own.
    seen.insert(Operation::ChangeOwnPassword);
    assert_eq!(seen.len(), Operation::ALL.len(), "every operation has a sample");
    site.end().await;
}

/// Goal: the second of two administrators is told what the first has changed, and loses nothing; a bad edit changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn edits_are_tried_refused_told_of_and_carried_out_with_the_comments_kept() {
    let site = Site::start().await;
    let (mut anna, mut bert) = (site.founder().await, site.founder().await);
    let (base, text) = anna.topology().await;
    assert_eq!(text, TOPOLOGY);

    let trial =
        anna.ask(Request::Edit { base: base.clone(), edits: rename("Eins"), trial: true }).await.unwrap();
    let Answer::Edited { difference, .. } = &trial else { panic!("{trial:?}") };
    assert!(difference.contains("-name = \"One\"\n+name = \"Eins\"\n"), "{difference}");
    assert_eq!(site.text(), TOPOLOGY, "a trial writes nothing");

    let bad =
        serde_json::from_value(json!([{"change": {"table": {"channel": 1}, "set": {"input": "nothing"}}}]))
            .unwrap();
    let refused = anna.ask(Request::Edit { base: base.clone(), edits: bad, trial: false }).await;
    let Err(Failure::Faults(faults)) = &refused else { panic!("{refused:?}") };
    assert!(faults[0].contains("topology.toml:1") && faults[0].contains("nothing"), "{faults:?}");
    assert_eq!(site.text(), TOPOLOGY, "a faulty edit writes nothing");

    let done =
        anna.ask(Request::Edit { base: base.clone(), edits: rename("Eins"), trial: false }).await.unwrap();
    assert_eq!(done, trial);
    assert_eq!(site.text(), TOPOLOGY.replace("\"One\"", "\"Eins\""));
    let Answer::Status(status) = anna.ask(Request::Status).await.unwrap() else { panic!() };
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["channels"][0]["name"], "Eins", "it is in force");

    let conflict = bert.ask(Request::Edit { base, edits: rename("Un"), trial: false }).await;
    let Err(Failure::Conflict { revision, difference }) = conflict else { panic!("{conflict:?}") };
    assert!(difference.unwrap().contains("+name = \"Eins\""));
    bert.ask(Request::Edit { base: revision, edits: rename("Un"), trial: false }).await.unwrap();

    bert.ask(Request::Drain { push_server: "hall".parse().unwrap(), draining: true }).await.unwrap();
    assert!(site.text().contains("drain = true\n"), "{}", site.text());
    bert.ask(Request::Drain { push_server: "hall".parse().unwrap(), draining: false }).await.unwrap();
    assert_eq!(site.text(), TOPOLOGY.replace("\"One\"", "\"Un\""));

    let Answer::Audit(lines) = anna.ask(Request::Audit { before: None, limit: 500 }).await.unwrap() else {
        panic!()
    };
    let told: Vec<String> = lines.iter().map(|line| format!("{}: {}", line.what, line.outcome)).collect();
    assert!(told.iter().any(|line| line == "EditTopology: change channel:1: done"), "{told:#?}");
    assert!(told.iter().any(|line| line.contains("changed meanwhile")), "{told:#?}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_stays_whole_and_a_site_without_one_says_so() {
    let site = Site::start().await;
    let mut anna = site.founder().await;
    let (base, _) = anna.topology().await;
    // Whatever keeps the new file from being written: root writes into read-only folders too.
    std::fs::create_dir_all(site.folder.path().join(".topology.toml.new/in the way")).unwrap();
    let refused = anna.ask(Request::Edit { base, edits: rename("Eins"), trial: false }).await;
    let Err(Failure::Unavailable(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("the old file is whole"), "{why}");
    assert_eq!(site.text(), TOPOLOGY);
    site.end().await;

    let topology = protocols::topology::Topology::parse("t", TOPOLOGY).unwrap().0;
    let parsed = Source::Parsed(std::sync::Arc::new(topology));
    let site = Site::of(tempfile::tempdir().unwrap(), parsed).await;
    let refused = site.founder().await.ask(Request::Topology).await.unwrap_err().to_string();
    assert!(refused.contains("without a topology file") && refused.contains("--topology FILE"), "{refused}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_logs_in_without_tls_or_by_another_key() {
    let site = Site::start().await;
    let mut plain = TcpStream::connect(site.bound.directory).await.unwrap();
    link::frames::open(&mut plain, Protocol::Directory).await.unwrap();
    let log_in = ToDatabase::LogIn { name: "a".into(), password: Secret(PASSWORD.into()) };
    link::frames::write_frame(&mut plain, &codec::encode(&log_in)).await.unwrap();
    loop {
        let body = link::frames::read_frame(&mut plain, MAX_P2_ANSWER_BYTES).await.unwrap().unwrap();
        match decode_message::<ToClient, MAX_P2_ANSWER_BYTES>(&body).unwrap() {
            ToClient::Pong => {}
            ToClient::AdministrationRefused(failure) => {
                assert!(failure.to_string().contains("https://127.0.0.1:"), "{failure}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let mut door = site.door().await;
    // A proof of another connection: whoever stands in between has none of this one's.
    let other = site.door().await;
    let exporter = tls::exporter(other.stream.get_ref().1).unwrap();
    let proof = site.key.administration_key().tag(KEY_LOG_IN, &[&exporter]).0;
    let refused = door.say(&ToDatabase::LogInByKey { proof }).await;
    assert_eq!(refused, ToClient::AdministrationRefused(Box::new(Failure::WrongPassword)));
    assert_eq!(door.ask(Request::Accounts).await, Err(Failure::NotLoggedIn));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_at_both_doors_together() {
    let site = Site::start().await;
    site.accounts().await;
    let mut door = site.door().await;
    let mut wrong = 0;
    // On a slow machine the first waits are over before the next attempt.
    while door.log_in("viewer", "wrong").await == Err(Failure::WrongPassword) {
        wrong += 1;
        assert!(wrong < 10, "nothing slows the guesses");
    }
    assert!(wrong >= 4, "{wrong} were free");
    let refused = door.log_in("viewer", PASSWORD).await;
    assert!(matches!(refused, Err(Failure::Throttled { .. })), "the right password waits too: {refused:?}");
    let page = Page { address: site.bound.console, cookie: None, token: None };
    let reply = page.call("POST", "session", Some(json!({"name": "nobody", "password": PASSWORD}))).await;
    assert_eq!(
        (reply.status, &reply.json["error"]["code"]),
        (429, &json!("throttled")),
        "the address waits, whatever the name"
    );
    site.end().await;
}

/// Goal: a session cannot be fixed, cannot be used by a page of another origin, and does not outlive its account.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_own_pages_and_ends_with_its_account() {
    let site = Site::start().await;
    site.accounts().await;
    let mut page = site.page("superuser").await;
    assert_eq!(page.call("GET", "session", None).await.json["name"], "superuser");

    // A session that somebody else has brought in is not taken over by the log in.
    let planted = Page {
        address: site.bound.console,
        cookie: Some(format!("masthead={}", "ab".repeat(32))),
        token: None,
    };
    let reply = planted.call("POST", "session", Some(json!({"name": "viewer", "password": PASSWORD}))).await;
    assert_eq!(reply.status, 200);
    assert_ne!(reply.cookie, planted.cookie);
    assert!(reply.head.contains("HttpOnly; SameSite=Strict; Path=/"), "{}", reply.head);
    assert_eq!(planted.call("GET", "session", None).await.json["name"], Value::Null);

    let reload = |headers: &'static str| page.call_with("POST", "topology/reload", None, headers);
    assert_eq!(reload("").await.status, 204);
    for headers in [
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        let reply = reload(headers).await;
        assert_eq!((reply.status, &reply.json["error"]["code"]), (403, &json!("cross_origin")), "{headers}");
    }
    let own = format!("Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n", site.bound.console);
    assert_eq!(page.call_with("POST", "topology/reload", None, &own).await.status, 204);
    let token = page.token.take();
    assert_eq!(page.call("POST", "topology/reload", None).await.json["error"]["code"], "token");
    page.token = token;

    // One's own password: this session goes on, others end.
    let other = site.page("superuser").await;
    let new = "another horse battery";
    let wrong = json!({"password": new, "old_password": "wrong"});
    assert_eq!(
        page.call("PATCH", "accounts/superuser", Some(wrong)).await.json["error"]["code"],
        "wrong_password"
    );
    let change = json!({"password": new, "old_password": PASSWORD});
    assert_eq!(page.call("PATCH", "accounts/superuser", Some(change)).await.status, 204);
    assert_eq!(page.call("GET", "session", None).await.json["name"], "superuser");
    assert_eq!(other.call("GET", "session", None).await.json["name"], Value::Null);
    let last = page.call("DELETE", "accounts/superuser", None).await;
    assert_eq!(
        (last.status, &last.json["error"]["code"]),
        (422, &json!("invalid")),
        "the last superuser stays"
    );

    let operator = site.page("operator").await;
    let mut by_p2 = site.door().await;
    by_p2.log_in("operator", PASSWORD).await.unwrap();
    assert_eq!(operator.call("GET", "topology", None).await.status, 200);
    let mut founder = site.founder().await;
    founder.ask(Request::SetRole { name: "operator".into(), role: Role::Viewer }).await.unwrap();
    assert_eq!(operator.call("GET", "topology", None).await.status, 401);
    assert_eq!(by_p2.ask(Request::Topology).await, Err(Failure::NotLoggedIn));
    founder.ask(Request::RemoveAccount { name: "operator".into() }).await.unwrap();
    assert_eq!(by_p2.log_in("operator", PASSWORD).await, Err(Failure::WrongPassword));
    page.call("DELETE", "session", None).await;
    assert_eq!(page.call("GET", "session", None).await.json["name"], Value::Null);
    site.end().await;
}

/// Goal: random edits, many of them wrong, by both doors in turn: the file always parses, and comments stay.
/// Method: 200 of them, or as many as `MASTHEAD_EDITS` says.
#[tokio::test(flavor = "multi_thread")]
async fn random_edits_at_both_doors_leave_a_whole_file_with_its_comments() {
    let site = Site::start().await;
    site.accounts().await;
    let page = site.page("superuser").await;
    let mut door = site.founder().await;
    // A generator of its own: the same edits at each run.
    let mut state = 0x2026_1122_u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let edits = std::env::var("MASTHEAD_EDITS").ok().and_then(|count| count.parse().ok()).unwrap_or(200_u32);
    let (mut done, mut refused) = (0, 0);
    for n in 0..edits {
        let id = draw(12);
        let table = match draw(5) {
            0 => json!({"push_server": (if draw(2) == 0 { "hall" } else { "annex" })}),
            1 => json!({"input": {"acquisition_server": "roof", "id": format!("input-{id}")}}),
            2 => json!({"destination": {"push_server": "hall", "address": format!("239.192.1.{id}")}}),
            _ => json!({"channel": id}),
        };
        let keys = json!({"name": format!("n{n} \"#\\"), "acquisition_server": "roof", "input": (if draw(2) == 0 { "card" } else { "input-3" })});
        let edit = match draw(6) {
            0 | 1 => {
                json!({"add": {"table": table, "keys": if table.get("channel").is_some() { keys } else { json!({"url": "testcard:"}) }}})
            }
            2 => json!({"change": {"table": table, "set": keys, "unset": ["service"]}}),
            3 => {
                json!({"change": {"table": {"push_server": "hall"}, "include": {"channels": [id]}, "exclude": {"channels": [draw(12)]}}})
            }
            4 => json!({"move": {"table": table, "before": {"channel": draw(12)}}}),
            _ => json!({"remove": {"table": table}}),
        };
        // A base that is old now and then: of the other administrator.
        let base =
            if draw(20) == 0 { "0".repeat(64) } else { protocols::topology::editing::revision(&site.text()) };
        let before = site.text();
        let taken = if n % 2 == 0 {
            let edits = vec![serde_json::from_value(edit.clone()).unwrap()];
            door.ask(Request::Edit { base, edits, trial: false }).await.is_ok()
        } else {
            let reply = page.call("POST", "topology", Some(json!({"base": base, "edits": [edit]}))).await;
            assert!([200, 404, 409, 422].contains(&reply.status), "{} {}", reply.status, reply.json);
            reply.status == 200
        };
        let text = site.text();
        let parsed = protocols::topology::Topology::parse("topology.toml", &text);
        assert!(parsed.is_ok(), "{edit}: {}\n{text}", parsed.unwrap_err());
        assert!(text.starts_with("# The site.\n"), "{edit}\n{text}");
        if taken {
            done += 1;
        } else {
            refused += 1;
            assert_eq!(text, before, "refused, and nothing changed: {edit}");
        }
    }
    assert!(done > edits / 8 && refused > edits / 8, "{done} carried out, {refused} refused");
    site.end().await;
}
