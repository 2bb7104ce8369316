//! A file of secrets, replaced whole: nobody else can read it at any moment, and readers see the old or the new one.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::sys::file::{Lock, read_regular, sync_dir, unique_name};

/// So many links are followed, as the kernel does.
const LINKS: usize = 40;

/// Changes a file: `change` gets its bytes, nothing if it is not there, and gives the new ones, or `None` to leave it.
/// Others that change it so wait meanwhile. Directories that are missing are made for the user alone.
pub fn change<E: From<io::Error>>(
    path: &Path,
    limit: u64,
    change: impl FnOnce(&[u8]) -> Result<Option<Vec<u8>>, E>,
) -> Result<(), E> {
    let path = followed(path)?;
    let dir = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let _alone = Lock::directory(dir)?;
    let before = match read_regular(&path, limit) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    if let Some(after) = change(&before)? {
        replace(&path, dir, &after)?;
    }
    Ok(())
}

/// Where a file really is, if its own name is a link: that link stays. It may lead to where nothing is yet.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            // It is no link.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

fn replace(path: &Path, dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = dir.join(format!(".lith-{}", unique_name()));
    let done = write(&beside, path, bytes).and_then(|()| fs::rename(&beside, path));
    if done.is_err() {
        let _ = fs::remove_file(&beside);
    }
    done.and_then(|()| sync_dir(dir))
}

fn write(beside: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    if let Ok(old) = fs::metadata(path) {
        // Root that acts for a user leaves the file to them; anybody else owns it already, or cannot give it away.
        let _ = std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()));
    }
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
        change(path, 1 << 20, |_| Ok::<_, io::Error>(Some(bytes.to_vec())))
    }

    #[test]
    fn only_the_user_reads_it_and_links_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("deep/er/config.json"), dir.path().join("link"));
        std::os::unix::fs::symlink("deep/er/config.json", &link).unwrap();
        put(&link, b"1").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"1");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(real.parent().unwrap()).unwrap().permissions().mode() & 0o7777, 0o700);
        fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
        put(&link, b"2").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"2");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let left = crate::sys::dir::list_path(real.parent().unwrap()).unwrap();
        assert_eq!(left.len(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_cannot_be_written_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        put(&path, b"1").unwrap();
        let refused = change(&path, 1 << 20, |_| Err::<Option<Vec<u8>>, _>(io::Error::other("no")));
        assert!(refused.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"1");
        assert!(change(&path, 0, |_| Ok::<_, io::Error>(Some(vec![]))).is_err(), "longer than is read");
        std::os::unix::fs::symlink("loop", dir.path().join("loop")).unwrap();
        assert!(put(&dir.path().join("loop"), b"2").is_err());
        fs::create_dir(dir.path().join("d")).unwrap();
        assert!(put(&dir.path().join("d"), b"2").is_err());
        assert_eq!(crate::sys::dir::list_path(dir.path()).unwrap().len(), 3);
    }

    #[test]
    fn changes_at_once_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let longer = |before: &[u8]| Ok::<_, io::Error>(Some([before, b"x"].concat()));
                    change(&path, 1 << 20, longer).unwrap();
                });
            }
        });
        assert_eq!(fs::read(&path).unwrap(), b"xxxxxxxx");
    }
}
