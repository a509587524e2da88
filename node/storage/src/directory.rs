//! The directory of a store: who made it, and in which format.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use purlin_state::{FORMAT_VERSION, StoreError};

/// Says which format the directory has; text, so that a person can read it.
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_WORDS: &str = "purlin storage format";
/// Holds the database.
const DATABASE: &str = "db";

/// Says why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Written by another version of the program.
    #[error(
        "{path} has storage format {found}; this program reads {supported}: use the one that wrote it, or another \
         data directory"
    )]
    OtherFormat {
        /// The directory.
        path: PathBuf,
        /// On disk.
        found: u32,
        /// Known here.
        supported: u32,
    },
    /// Holds something else.
    #[error(
        "{path} was not made by purlin, or its FORMAT file is damaged: {detail}; use another data directory"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Another process has it.
    #[error("{path} is in use by another process: stop it first, or use another data directory ({detail})")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// What the backend said.
        detail: String,
    },
    /// The database does not open.
    #[error("cannot open the database in {path}: {source}")]
    Store {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: StoreError,
    },
}

/// Checks or makes the directory and returns where the database lies in it.
pub(crate) fn prepare(path: &Path) -> Result<PathBuf, OpenError> {
    let io = |operation, path: &Path| {
        let path = path.to_path_buf();
        move |source| OpenError::Io { operation, path, source }
    };
    fs::create_dir_all(path).map_err(io("create the directory", path))?;
    let (format, database) = (path.join(FORMAT_FILE), path.join(DATABASE));
    match fs::read_to_string(&format) {
        Ok(text) => {
            let version =
                text.trim_end().strip_prefix(FORMAT_WORDS).and_then(|rest| rest.trim().parse().ok());
            match version {
                Some(FORMAT_VERSION) => {}
                Some(found) => {
                    let path = path.to_path_buf();
                    return Err(OpenError::OtherFormat { path, found, supported: FORMAT_VERSION });
                }
                None => {
                    let detail = format!("its {FORMAT_FILE} file does not say \"{FORMAT_WORDS} <number>\"");
                    return Err(OpenError::Foreign { path: path.to_path_buf(), detail });
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // The file comes first and is complete when it has its name, so a database without it is not ours.
            if database.exists() {
                let detail = format!("it has a \"{DATABASE}\" and no {FORMAT_FILE} file");
                return Err(OpenError::Foreign { path: path.to_path_buf(), detail });
            }
            let draft = path.join("FORMAT.new");
            let mut file = File::create(&draft).map_err(io("create", &draft))?;
            writeln!(file, "{FORMAT_WORDS} {FORMAT_VERSION}").map_err(io("write", &draft))?;
            file.sync_all().map_err(io("sync", &draft))?;
            fs::rename(&draft, &format).map_err(io("name", &format))?;
            File::open(path).and_then(|directory| directory.sync_all()).map_err(io("sync", path))?;
        }
        Err(error) => return Err(io("read", &format)(error)),
    }
    Ok(database)
}
