//! The data directory: whose it is, which format, which epoch.
//!
//! ```text
//! LOCK     held by the process that has the store open
//! EPOCH    ten random characters, made once: the name of this log's life
//! FORMAT   the version of everything here; written last, so that it marks a finished creation
//! CREATING there from before log/ is made until FORMAT is written
//! log/     the key-value engine's
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fanfare_model::Epoch;

/// What this version writes, and the newest that it reads.
const FORMAT: u32 = 1;
const FORMAT_PREFIX: &str = "fanfare-store ";
const CREATING: &str = "CREATING";
const EPOCH_CHARS: u32 = 10;

/// Why a data directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    #[error(
        "{path} has format {found}, and this program reads up to {FORMAT}: \
         start the newer program that wrote it, or restore a backup made before the upgrade"
    )]
    Newer { path: PathBuf, found: u32 },
    /// Something is there that should not be, or the other way round. Nothing was changed.
    #[error("{path} is damaged: {what}")]
    Damaged { path: PathBuf, what: String },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// A data directory that is ours as long as this value lives.
#[derive(Debug)]
pub(super) struct Dir {
    pub(super) path: PathBuf,
    pub(super) epoch: Epoch,
    _lock: File,
}

impl Dir {
    /// Takes the directory, and makes it when it is not there. The newness of its format is looked at
    /// before anything in it is touched.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        // One that somebody made beforehand may be open to others; messages are nobody else's.
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(io)?;
        let lock = lock(path)?;
        let finished = check_format(path)?;
        if !finished {
            begin(path)?;
        }
        let epoch = match (read(path, "EPOCH")?, finished) {
            (Some(text), _) => {
                Epoch::parse(text.trim()).ok_or_else(|| damaged(path, "EPOCH is not valid"))?
            }
            (None, false) => make_epoch(path)?,
            (None, true) => return Err(damaged(path, "EPOCH is missing")),
        };
        Ok(Self { path: path.to_owned(), epoch, _lock: lock })
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// To be called when everything else is in place.
    pub(super) fn finish(&self) -> Result<(), OpenError> {
        if !check_format(&self.path)? {
            write(&self.path, "FORMAT", &format!("{FORMAT_PREFIX}{FORMAT}\n"))?;
        }
        match fs::remove_file(self.path.join(CREATING)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(OpenError::Io { path: self.path.join(CREATING), source })
            }
            _ => Ok(()),
        }
    }
}

fn damaged(path: &Path, what: impl Into<String>) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), what: what.into() }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("LOCK"));
    let file = file.map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(path.to_owned())),
        Err(TryLockError::Error(e)) => Err(io(e)),
    }
}

/// Whether the directory was finished once. Refuses a format that is newer than ours.
fn check_format(path: &Path) -> Result<bool, OpenError> {
    let Some(text) = read(path, "FORMAT")? else { return Ok(false) };
    let found = text.trim().strip_prefix(FORMAT_PREFIX.trim_end()).and_then(|n| n.trim().parse().ok());
    match found.ok_or_else(|| damaged(path, "FORMAT is not a version"))? {
        FORMAT => Ok(true),
        found if found > FORMAT => Err(OpenError::Newer { path: path.to_owned(), found }),
        found => Err(damaged(path, format!("there never was a format {found}"))),
    }
}

/// A creation, or one that was cut short and is begun anew: what the engine made halfway it cannot open.
/// Nothing was acknowledged before a creation was finished. A log without the mark is never touched.
fn begin(path: &Path) -> Result<(), OpenError> {
    let log = path.join("log");
    let io = |source| OpenError::Io { path: log.clone(), source };
    let there = log.try_exists().map_err(io)?;
    let creating = path.join(CREATING).try_exists().map_err(io)?;
    match (creating, there) {
        (true, true) => fs::remove_dir_all(&log).map_err(io),
        (false, false) => write(path, CREATING, ""),
        (true, false) | (false, true) => Ok(()),
    }
}

fn make_epoch(path: &Path) -> Result<Epoch, OpenError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|e| OpenError::Io { path: path.to_owned(), source: io::Error::other(e.to_string()) })?;
    let mut number = u128::from_le_bytes(random);
    // 36^10 goes into 2^128 so often that the remainder's bias does not matter.
    let text: String = (0..EPOCH_CHARS)
        .map(|_| {
            let digit = (number % 36) as u32;
            number /= 36;
            char::from_digit(digit, 36).expect("a remainder of 36 is a digit of base 36")
        })
        .collect();
    write(path, "EPOCH", &text)?;
    Ok(Epoch::parse(&text).expect("digits and lower-case letters are an epoch"))
}

fn read(path: &Path, name: &str) -> Result<Option<String>, OpenError> {
    match fs::read_to_string(path.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Io { path: path.join(name), source }),
    }
}

/// All of the file or none of it, also when the power goes.
fn write(path: &Path, name: &str, text: &str) -> Result<(), OpenError> {
    let write = || {
        let temporary = path.join(format!("{name}.new"));
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path.join(name))?;
        File::open(path)?.sync_all()
    };
    write().map_err(|source| OpenError::Io { path: path.join(name), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_made_once_and_the_directory_is_private() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/data");
        let dir = Dir::open(&path).unwrap();
        let epoch = dir.epoch.clone();
        assert_eq!(epoch.as_str().len(), 10);
        assert!(epoch.as_str().bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(Dir::open(&path), Err(OpenError::Locked(_))));
        drop(dir);
        let dir = Dir::open(&path).unwrap();
        assert_eq!(dir.epoch, epoch, "an interrupted creation goes on");
        dir.finish().unwrap();
        drop(dir);
        assert_eq!(Dir::open(&path).unwrap().epoch, epoch);
        assert_ne!(Dir::open(&temporary.path().join("b")).unwrap().epoch, epoch);
    }

    #[test]
    fn a_creation_that_was_cut_short_is_begun_anew_and_a_finished_one_never() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        drop(Dir::open(path).unwrap());
        let half = path.join("log/half");
        let make_half = || {
            fs::create_dir_all(path.join("log")).unwrap();
            fs::write(&half, "x").unwrap();
        };
        make_half();
        let dir = Dir::open(path).unwrap();
        assert!(!half.exists());
        make_half();
        dir.finish().unwrap();
        drop(dir);
        assert!(!path.join(CREATING).exists());
        drop(Dir::open(path).unwrap());
        assert!(half.exists(), "it is whole now");
        // As a crash between the two last steps would leave it.
        fs::write(path.join(CREATING), "").unwrap();
        let dir = Dir::open(path).unwrap();
        assert!(half.exists(), "FORMAT says that it was finished");
        dir.finish().unwrap();
        drop(dir);
        assert!(!path.join(CREATING).exists());
        // Somebody lost a file: that is no reason to lose the rest.
        fs::remove_file(path.join("FORMAT")).unwrap();
        drop(Dir::open(path).unwrap());
        assert!(half.exists());
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        Dir::open(path).unwrap().finish().unwrap();
        fs::write(path.join("FORMAT"), "fanfare-store 2\n").unwrap();
        let newer = Dir::open(path).unwrap_err();
        assert!(matches!(newer, OpenError::Newer { found: 2, .. }));
        assert!(newer.to_string().contains("has format 2, and this program reads up to 1"), "{newer}");
        fs::write(path.join("FORMAT"), "x").unwrap();
        assert!(matches!(Dir::open(path), Err(OpenError::Damaged { .. })));
        fs::write(path.join("FORMAT"), "fanfare-store 1\n").unwrap();
        fs::remove_file(path.join("EPOCH")).unwrap();
        assert!(matches!(Dir::open(path), Err(OpenError::Damaged { .. })), "a new epoch would be a lie");
    }
}
