//! The cluster key on disk: one small text file, readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use protocols::authority::{ClusterKey, KeyFileError};
use thiserror::Error;

use crate::random;

/// Name of the key file in a data folder.
pub const FILE_NAME: &str = "cluster.key";

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// No file there.
    #[error(
        "{path} does not exist: this server needs the site's cluster key; copy `cluster.key` from the database server's \
         data folder (or make one with `masthead key --file {path}`) and name it with --cluster-key"
    )]
    Missing {
        /// The file looked for.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("{path}: {error}{advice}", advice = advice(error))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// It holds something else.
    #[error("{path}: {error}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyFileError,
    },
    /// Others than its owner may read it.
    #[error("{path} can be read by others (mode {mode:o}): run `chmod 600 {path}`")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// What an administrator can do about a key file that is refused; empty or beginning with `; `.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => "; the user that runs this server has to own it and its folder",
        _ => "",
    }
}

/// Reads the key in `path`.
pub fn load(path: &Path) -> Result<ClusterKey, KeyError> {
    let io = |error| KeyError::Io { path: path.to_owned(), error };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(KeyError::Missing { path: path.to_owned() });
        }
        Err(error) => return Err(io(error)),
    };
    let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(KeyError::TooOpen { path: path.to_owned(), mode });
    }
    ClusterKey::from_file_text(&text).map_err(|error| KeyError::Malformed { path: path.to_owned(), error })
}

/// Makes a key in `path`, which must not exist yet; its folder is made where missing.
pub fn make(path: &Path) -> Result<ClusterKey, KeyError> {
    let io = |error| KeyError::Io { path: path.to_owned(), error };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let key = random::cluster_key();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    file.write_all(key.to_file_text().as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    Ok(key)
}

/// Reads the key in `path`, or makes one there at the first start.
pub fn load_or_make(path: &Path) -> Result<ClusterKey, KeyError> {
    match load(path) {
        Err(KeyError::Missing { .. }) => make(path),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_private_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data").join(FILE_NAME);
        let made = load_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(load_or_make(&path).unwrap() == made);
        assert!(matches!(make(&path), Err(KeyError::Io { .. })), "a key is never overwritten");
    }

    #[test]
    fn a_missing_key_is_refused_with_the_way_out() {
        let error = load(Path::new("/nonexistent/cluster.key")).unwrap_err().to_string();
        assert!(error.contains("copy `cluster.key` from the database server"), "{error}");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        make(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load(&path), Err(KeyError::TooOpen { mode: 0o644, .. })));
    }
}
