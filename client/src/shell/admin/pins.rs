//! Servers that were called before, and their certificates: as SSH's `known_hosts`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use link::tls::Fingerprint;

use crate::shell::Error;

/// Name of the file, in the folder `masthead` of the user's configuration.
const FILE_NAME: &str = "known-servers";
/// Longest file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Checks that `server` shows the certificate it showed before, or that is `expected`; at the first call keeps it.
pub(super) fn check(server: &str, seen: &Fingerprint, expected: Option<&Fingerprint>) -> Result<(), Error> {
    let path = path();
    check_in(path.as_deref(), server, seen, expected)
}

fn check_in(
    path: Option<&Path>,
    server: &str,
    seen: &Fingerprint,
    expected: Option<&Fingerprint>,
) -> Result<(), Error> {
    if let Some(expected) = expected {
        return if expected == seen {
            keep(path, server, seen);
            Ok(())
        } else {
            Err(Error::Refused(format!("{server} shows another certificate than --fingerprint says: {seen}")))
        };
    }
    match path.and_then(|path| known(path, server)) {
        Some(known) if known == *seen => Ok(()),
        Some(known) => Err(Error::Refused(format!(
            "{server} shows another certificate than at earlier calls. Somebody may stand in between, or its data folder is \
             new. Before: {known}\nNow:    {seen}\nIf its log shows the same at its start (`certificate=`), call once with \
             --fingerprint {seen}"
        ))),
        None => {
            eprintln!(
                "First call of {server}; its certificate is {seen}\n(SHA-256; the server's log shows it at its start as \
                 `certificate=`). It is kept, and another will be refused."
            );
            keep(path, server, seen);
            Ok(())
        }
    }
}

fn path() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(config.join("masthead").join(FILE_NAME))
}

fn lines(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() <= MAX_FILE_BYTES => fs::read_to_string(path).unwrap_or_default(),
        _ => String::new(),
    }
}

fn known(path: &Path, server: &str) -> Option<Fingerprint> {
    let text = lines(path);
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(name, _)| *name == server).and_then(|(_, digits)| Fingerprint::read(digits))
}

/// Without a place to keep it the next call is a first call again, which is said then.
fn keep(path: Option<&Path>, server: &str, seen: &Fingerprint) {
    let Some(path) = path else { return };
    if known(path, server).as_ref() == Some(seen) {
        return;
    }
    let others: String = lines(path)
        .lines()
        .filter(|line| line.split_once(' ').is_none_or(|(name, _)| name != server))
        .flat_map(|line| [line, "\n"])
        .collect();
    if let Err(error) = write(path, &format!("{others}{server} {seen}\n")) {
        eprintln!("{}: {error}: the certificate cannot be kept", path.display());
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_kept_at_the_first_call_and_another_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masthead").join(FILE_NAME);
        let (one, two) =
            (Fingerprint::read(&"ab".repeat(32)).unwrap(), Fingerprint::read(&"cd".repeat(32)).unwrap());
        let check =
            |server: &str, seen: &Fingerprint, expected| check_in(Some(&path), server, seen, expected);
        check("a:7402", &one, None).unwrap();
        check("b:7402", &two, None).unwrap();
        check("a:7402", &one, None).unwrap();
        let error = check("a:7402", &two, None).unwrap_err().to_string();
        assert!(error.contains("another certificate") && error.contains(&two.to_string()), "{error}");
        assert!(check("a:7402", &two, Some(&one)).is_err());
        check("a:7402", &two, Some(&two)).unwrap();
        check("a:7402", &two, None).unwrap();
        check("b:7402", &two, None).unwrap();
    }
}
