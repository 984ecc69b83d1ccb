//! The Debian package on a clean Debian: installed, at work, upgraded, removed, purged.
//!
//! There is no systemd as process 1 here. [`Service`] does what a unit says of program, environment, user, capabilities, folders and
//! readiness, and no more: what it says of file systems, system calls and restarts is checked by `systemd-analyze` alone.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::site::{file_bytes, wait_for_growth};
use lab::{Command, Host, Lab, Lan, Process, command, skip, timeline};

/// The four servers of the package.
const UNITS: [&str; 4] =
    ["masthead-database-server", "masthead-acquisition", "masthead-push-server", "masthead-gateway"];
/// Longest that a service may take to be ready, and a channel to come.
const LIMIT: Duration = Duration::from_secs(15);
/// Longest that a service may take to end.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of television that show a channel plays.
const PLAYING: u64 = 50_000;
/// Of `systemd-analyze security`, times ten: what it calls OK ends at 5.0.
const EXPOSURE_MAX: &str = "25";
/// What a package manager writes for itself, and what is no file of the system.
const NOT_COMPARED: [&str; 8] =
    ["proc", "sys", "dev", "run", "tmp", "var/lib/dpkg", "var/log", "var/cache/ldconfig"];

/// A Debian of its own, on a host of the lab.
struct Debian {
    host: Host,
    root: PathBuf,
}

impl Debian {
    /// Unpacked anew from the tar file that `tests/newcomer/base` names.
    fn unpack(lab: &Lab, tarball: &str) -> Self {
        let root = lab.path("root");
        fs::create_dir(&root).unwrap();
        Command::line("tar -xf").arg(tarball).arg("-C").arg(&root).succeed();
        let host = lab.host("debian");
        Self { host, root }
    }

    /// `program` in it. The lab gives each command a view of mounts of its own, which is gone with it.
    fn command(&self, words: &[&str]) -> Command {
        const ENTER: &str = "mount --rbind /dev \"$0/dev\" && mount -t proc proc \"$0/proc\" && \
                             exec chroot \"$0\" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
                             DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \"$@\"";
        Command::new("sh").args(["-c", ENTER]).arg(&self.root).args(words)
    }

    fn run(&self, words: &[&str]) -> String {
        self.host.run(self.command(words))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn install(&self, package: &Path) {
        fs::copy(package, self.path("/tmp/masthead.deb")).unwrap();
        self.run(&["dpkg", "-i", "/tmp/masthead.deb"]);
    }

    fn version(&self) -> String {
        self.run(&["dpkg-query", "-W", "-f=${Version}", "masthead"])
    }

    /// All files but [`NOT_COMPARED`], and copies that the tools for accounts keep.
    fn files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                let path = entry.path().strip_prefix(&self.root).unwrap().to_owned();
                let kept_copy =
                    path.parent() == Some(Path::new("etc")) && path.to_string_lossy().ends_with('-');
                if NOT_COMPARED.iter().any(|folder| path == Path::new(folder)) || kept_copy {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
                found.insert(path);
            }
        }
        found
    }

    fn accounts(&self) -> [String; 2] {
        ["/etc/passwd", "/etc/group"].map(|file| fs::read_to_string(self.path(file)).unwrap())
    }
}

/// What a unit says of how to run it.
#[derive(Default)]
struct Unit {
    exec_start: Vec<String>,
    environment: Vec<String>,
    user: String,
    capabilities: Vec<String>,
    /// Folders below `/var/lib` and `/var/cache`.
    folders: Vec<String>,
    notifies: bool,
}

impl Unit {
    fn read(debian: &Debian, name: &str) -> Self {
        let text = fs::read_to_string(debian.path(&format!("/lib/systemd/system/{name}.service"))).unwrap();
        let words = |value: &str| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let mut unit = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
                continue;
            };
            match key {
                "Type" => unit.notifies = value == "notify",
                "ExecStart" => unit.exec_start = words(value),
                "Environment" => unit.environment.extend(words(value)),
                "EnvironmentFile" => {
                    let file = fs::read_to_string(debian.path(value.trim_start_matches('-'))).unwrap();
                    let set = |line: &&str| !line.is_empty() && !line.starts_with('#');
                    unit.environment.extend(file.lines().filter(set).map(str::to_owned));
                }
                "User" => value.clone_into(&mut unit.user),
                "AmbientCapabilities" => {
                    let names = words(value).into_iter();
                    unit.capabilities =
                        names.map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect();
                }
                "StateDirectory" => unit.folders.push(format!("/var/lib/{value}")),
                "CacheDirectory" => unit.folders.push(format!("/var/cache/{value}")),
                _ => {}
            }
        }
        unit
    }
}

/// A unit at work.
struct Service {
    process: Process,
}

impl Service {
    /// Started as its unit says, and ready as it says so itself.
    fn start(debian: &Debian, name: &str) -> Self {
        let unit = Unit::read(debian, name);
        assert!(unit.notifies && unit.user == "masthead", "{name}");
        for folder in &unit.folders {
            debian.run(&["install", "-d", "-m", "0750", "-o", &unit.user, "-g", &unit.user, folder]);
        }
        let socket = format!("/run/{name}.notify");
        let _ = fs::remove_file(debian.path(&socket));
        // By a path that is short, wherever the lab's folder is.
        let run = fs::File::open(debian.path("/run")).unwrap();
        let notified =
            UnixDatagram::bind(format!("/proc/self/fd/{}/{name}.notify", run.as_raw_fd())).unwrap();
        fs::set_permissions(debian.path(&socket), PermissionsExt::from_mode(0o666)).unwrap();
        notified.set_nonblocking(true).unwrap();

        let capabilities: String = unit.capabilities.iter().flat_map(|name| [",+", name]).collect();
        let [bounding, inherited, ambient] =
            ["bounding-set", "inh-caps", "ambient-caps"].map(|set| format!("--{set}=-all{capabilities}"));
        let (user, group) = (format!("--reuid={}", unit.user), format!("--regid={}", unit.user));
        let mut words = vec!["setpriv", &user, &group, "--init-groups", "--no-new-privs"];
        words.extend([bounding.as_str(), &inherited, &ambient]);
        let notify = format!("NOTIFY_SOCKET={socket}");
        words.extend(["env", &notify]);
        words.extend(unit.environment.iter().map(String::as_str));
        words.extend(unit.exec_start.iter().map(String::as_str));
        let process = debian.host.spawn(debian.command(&words));
        let mut told = String::new();
        let ready = || {
            let mut buffer = [0; 4_096];
            match notified.recv(&mut buffer) {
                Ok(count) => told.push_str(&String::from_utf8_lossy(&buffer[..count])),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            told.lines().any(|line| line == "READY=1").then_some(())
        };
        timeline::obtain_or(&format!("{name} says that it is ready"), LIMIT, ready, || process.last_words());
        Self { process }
    }

    fn start_all(debian: &Debian) -> Vec<Self> {
        UNITS.iter().map(|name| Self::start(debian, name)).collect()
    }

    fn stop_all(services: Vec<Self>) {
        for mut service in services.into_iter().rev() {
            assert!(service.process.terminate(END_LIMIT).success(), "{}", service.process.last_words());
        }
    }
}

fn build(lab: &Lab, version: &str) -> PathBuf {
    let programs = command::ours("masthead");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/debian/build");
    let command = Command::new(script).args(["--fast", "--version", version, "--programs"]);
    let printed = command.arg(programs.parent().unwrap()).arg("--output").arg(lab.folder()).succeed();
    PathBuf::from(printed.lines().last().unwrap())
}

/// Goal: the package is what an administrator expects of one. Method: a Debian that has nothing but a C compiler; one watches while the
/// package is upgraded beneath him.
#[test]
fn package_installs_runs_upgrades_removes_and_purges() {
    const NAME: &str = "package_installs_runs_upgrades_removes_and_purges";
    let Some(lab) = Lab::open(NAME, &["debootstrap", "tar", "dpkg-deb", "gzip"]) else { return };
    let base = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../newcomer/base")).succeed();
    if let Some(reason) = base.strip_prefix("SKIPPED newcomer: ") {
        return skip::report(NAME, reason.trim());
    }
    let debian = Debian::unpack(&lab, base.trim());
    let [first, second] = ["0.1.0-1", "0.1.0-2"].map(|version| build(&lab, version));
    let (files, accounts) = (debian.files(), debian.accounts());
    lab.note(format_args!("packages made"));

    debian.install(&first);
    lab.note(format_args!("installed"));
    is_installed(&debian);
    let mut services = Service::start_all(&debian);
    lab.note(format_args!("all four say that they are ready"));
    let watching = ["masthead-client", "watch", "1", "--output", "/tmp/card.ts"];
    let mut viewer = debian.host.spawn(debian.command(&watching));
    let card = debian.path("/tmp/card.ts");
    wait_for_growth(&card, PLAYING, LIMIT);
    lab.note(format_args!("a channel plays"));
    let _rooms = follows_the_guide(&lab, &debian, &services);

    let (topology, key) =
        (debian.path("/etc/masthead/topology.toml"), debian.path("/etc/masthead/cluster.key"));
    let ours = fs::read_to_string(&topology).unwrap() + "\n# ours\n";
    fs::write(&topology, &ours).unwrap();
    let secret = fs::read(&key).unwrap();
    debian.install(&second);
    assert_eq!(debian.version(), "0.1.0-2");
    // As postinst has systemd do.
    Service::stop_all(services);
    services = Service::start_all(&debian);
    wait_for_growth(&card, file_bytes(&card) + PLAYING, LIMIT);
    assert!(viewer.is_running(), "{}", viewer.last_words());
    assert_eq!(fs::read_to_string(&topology).unwrap(), ours, "an upgrade keeps the topology");
    assert_eq!(fs::read(&key).unwrap(), secret, "an upgrade keeps the key");
    lab.note(format_args!("upgraded, and the viewer goes on"));

    viewer.terminate(END_LIMIT);
    Service::stop_all(services);
    debian.run(&["rm", "-r", "/srv/tv"]);
    debian.run(&["dpkg", "--remove", "masthead"]);
    assert!(
        !debian.path("/usr/bin/masthead").exists()
            && !debian.path("/lib/systemd/system/masthead-gateway.service").exists()
    );
    assert_eq!(fs::read_to_string(&topology).unwrap(), ours, "what is only removed keeps its topology");
    assert!(key.exists() && debian.path("/var/lib/masthead").read_dir().unwrap().next().is_some());
    debian.run(&["dpkg", "--purge", "masthead"]);
    let left: Vec<_> = debian.files().difference(&files).cloned().collect();
    assert_eq!(left, Vec::<PathBuf>::new(), "purged, and yet there");
    assert_eq!(files.difference(&debian.files()).count(), 0, "something else is gone");
    assert_eq!(debian.accounts(), accounts);
    lab.note(format_args!("purged, nothing left"));
}

/// Steps 2 and 3 of `docs/guide.md`: its own topology, a channel from a file, a viewer in a room. The rooms' network.
fn follows_the_guide(lab: &Lab, debian: &Debian, services: &[Service]) -> Lan {
    let rooms = lab.lan("rooms", "10.10.0.0/20");
    lab.attach(&debian.host, &rooms, "10.10.0.1");
    let room = lab.host("room");
    lab.attach(&room, &rooms, "10.10.0.101");
    debian.run(&["install", "-d", "-o", "masthead", "/srv/tv"]);
    debian.run(&["masthead-client", "watch", "1", "--duration", "3", "--output", "/srv/tv/welcome.ts"]);
    let guide = fs::read_to_string(debian.path("/usr/share/doc/masthead/guide.md")).unwrap();
    let (_, rest) = guide.split_once("```toml\n").unwrap();
    fs::write(debian.path("/etc/masthead/topology.toml"), rest.split_once("```").unwrap().0).unwrap();
    debian.run(&["masthead", "check", "/etc/masthead/topology.toml"]);
    // What `systemctl reload` does.
    Command::line(&format!("kill -HUP {}", services[0].process.pid())).succeed();
    let in_room = lab.path("room.ts");
    let client = Command::line("masthead-client --database 10.10.0.1 watch 2 --output").arg(&in_room);
    let mut watching = room.spawn(client.env("XDG_CACHE_HOME", lab.path("cache")));
    wait_for_growth(&in_room, PLAYING, LIMIT);
    watching.terminate(END_LIMIT);
    lab.note(format_args!("by the guide, a file plays in a room"));
    rooms
}

/// Owners, modes, pages and units are what they should be.
fn is_installed(debian: &Debian) {
    let mode = |path: &str| fs::metadata(debian.path(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("/etc/masthead/cluster.key"), mode("/etc/masthead/topology.toml")), (0o640, 0o640));
    assert_eq!((mode("/etc/masthead"), mode("/var/lib/masthead")), (0o770, 0o750));
    assert!(debian.run(&["masthead", "check", "/etc/masthead/topology.toml"]).contains("Test card"));
    let hotel = debian.run(&["masthead", "check", "/usr/share/doc/masthead/examples/hotel/topology.toml"]);
    assert!(hotel.starts_with("5 channels, 1 acquisition server, 2 push servers, 3 networks"), "{hotel}");
    assert!(debian.path("/usr/share/man/man1/masthead-client.1.gz").exists());
    assert!(debian.path("/usr/share/bash-completion/completions/masthead-client").exists());
    let wanted = debian.path("/etc/systemd/system/multi-user.target.wants");
    for name in UNITS {
        assert!(wanted.join(format!("{name}.service")).is_symlink(), "{name} is not enabled");
    }
    if skip::find("systemd-analyze").is_none() {
        return;
    }
    let root = format!("--root={}", debian.root.display());
    for name in UNITS {
        let unit = format!("{name}.service");
        let verified = Command::line("systemd-analyze verify --man=no").args([&root, &unit]).output();
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        // The root has no systemd, so no targets either.
        let faults: Vec<&str> = said
            .lines()
            .filter(|line| !line.is_empty() && !line.ends_with("sysinit.target not found."))
            .collect();
        assert_eq!(faults, Vec::<&str>::new());
        let path = debian.path(&format!("/lib/systemd/system/{unit}"));
        Command::line("systemd-analyze security --no-pager --offline=true --threshold")
            .arg(EXPOSURE_MAX)
            .arg(path)
            .succeed();
    }
}
