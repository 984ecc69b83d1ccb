//! Writing a file so that whoever reads it, also after a loss of power, finds the old one or the new one, whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// Puts `text` in the place of `path`, which keeps its permission bits and, where that is allowed, its owner. A link stays a link.
/// On an error the old file is there as it was.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    let temporary = folder.join(temporary);
    let written = write(&path, &temporary, text).and_then(|()| fs::rename(&temporary, &path));
    if let Err(error) = written {
        // What could not be written is of no use; what cannot be removed is overwritten the next time.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn write(old: &Path, temporary: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let like = fs::metadata(old)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(text.as_bytes())?;
    // Only root may give files away; a file of one's own is as good.
    let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
    file.set_permissions(fs::Permissions::from_mode(like.permissions().mode() & 0o7777))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("topology.toml"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_whole() {
        // Every write to it fails for want of room, as on a full disk.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("topology.toml");
        fs::write(&file, "old").unwrap();
        // A folder in the temporary file's place stands for whatever keeps it from being written.
        fs::create_dir_all(folder.path().join(".topology.toml.new/in the way")).unwrap();
        assert!(replace(&file, "new").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    }
}
