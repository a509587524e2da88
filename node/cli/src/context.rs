//! What commands know of their surroundings.

use std::path::PathBuf;

use crate::args::Global;
use crate::output::{Format, Output};

/// Settings that hold for one run of the program.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Folder of the node.
    pub(crate) home: PathBuf,
    /// Node to talk to, when the user said which.
    pub(crate) node: Option<String>,
    /// Access token for it.
    pub(crate) token: Option<String>,
    /// Where results go.
    pub(crate) output: Output,
}

impl Context {
    /// Resolves flags and environment.
    pub(crate) fn new(global: &Global) -> Self {
        let format = if global.json { Format::Json } else { Format::Text };
        Self {
            home: global.home.clone().unwrap_or_else(default_home),
            node: global.node.clone(),
            token: global.token.clone(),
            output: Output { format, quiet: global.quiet },
        }
    }

    /// Applies global options that stood among a method's arguments.
    pub(crate) fn overridden(&self, global: &Global) -> Self {
        Self {
            home: global.home.clone().unwrap_or_else(|| self.home.clone()),
            node: global.node.clone().or_else(|| self.node.clone()),
            token: global.token.clone().or_else(|| self.token.clone()),
            output: Output {
                format: if global.json { Format::Json } else { self.output.format },
                quiet: self.output.quiet || global.quiet,
            },
        }
    }
}

/// `~/.purlin`, or `./.purlin` for a user without a home folder.
fn default_home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from(".")).join(".purlin")
}
