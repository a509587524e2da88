//! The port to the disk below the sign state and its logs, so that a simulation can lose what was not synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::files::{Access, sync_directory, write_atomic};

/// What to do when a file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// Answer with [`io::ErrorKind::NotFound`].
    Fail,
    /// Make an empty one.
    Create,
}

/// Keeps files. The node's is [`SystemDisk`]; a simulation's is memory.
pub trait SigningDisk: Send + Sync {
    /// Says whether there is a file of this name.
    fn exists(&self, path: &Path) -> bool;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path, if_missing: IfMissing) -> io::Result<Box<dyn SigningFile>>;

    /// Replaces a whole file, durably when it returns: a crash leaves the old content or the new. Only the owner
    /// may read it.
    ///
    /// # Errors
    /// What the system says.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Makes it durable that files of this directory were made or renamed.
    ///
    /// # Errors
    /// What the system says.
    fn sync_names(&self, directory: &Path) -> io::Result<()>;
}

/// An open file. What is written may be lost in a crash, whole or in part, until [`SigningFile::sync`] returns.
pub trait SigningFile: Send {
    /// Returns the content from the start, at most `bytes_max` bytes.
    ///
    /// # Errors
    /// What the system says.
    fn read(&mut self, bytes_max: u64) -> io::Result<Vec<u8>>;

    /// Writes all bytes at an offset, over what is there; the file grows as needed.
    ///
    /// # Errors
    /// What the system says; some of the bytes may be written then.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Replaces the whole content, durably when it returns: a crash leaves the old content or the new.
    ///
    /// # Errors
    /// What the system says.
    fn replace(&mut self, content: &[u8]) -> io::Result<()>;

    /// Cuts the file off after this many bytes.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// What the system says; nothing is known about what was written then.
    fn sync(&mut self) -> io::Result<()>;
}

/// The machine's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl SigningDisk for SystemDisk {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn open(&self, path: &Path, if_missing: IfMissing) -> io::Result<Box<dyn SigningFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(if_missing == IfMissing::Create).truncate(false);
        Ok(Box::new(SystemFile { file: options.open(path)?, path: path.into() }))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        write_atomic(path, content, Access::OwnerOnly)
    }

    fn sync_names(&self, directory: &Path) -> io::Result<()> {
        sync_directory(directory)
    }
}

struct SystemFile {
    file: File,
    path: PathBuf,
}

impl SigningFile for SystemFile {
    fn read(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        (&mut self.file).take(bytes_max).read_to_end(&mut content)?;
        Ok(content)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(bytes)
    }

    fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        write_atomic(&self.path, content, Access::OwnerOnly)?;
        self.file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
