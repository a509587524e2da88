//! Checks the repository itself: crate edges, sources, file sizes, documents.
//!
//! A rule is a function from facts to [`Violation`]s: [`edges`] looks at the crate graph, [`purity`] at the sources of
//! pure crates, [`text`] at every file, [`documents`] at Markdown. `tests/repository.rs` runs all of them on this
//! repository; the tests beside each rule show that it can fail.
//!
//! ```
//! use purlin_tidy::text;
//! let found = text::check_size("src/long.rs", &"line\n".repeat(801));
//! assert_eq!(found[0].to_string(), "src/long.rs: 801 lines; split it into files of one idea each (at most 800)");
//! ```
#![forbid(unsafe_code)]

pub mod commands;
pub mod documents;
pub mod edges;
pub mod files;
pub mod graph;
pub mod purity;
pub mod text;

use std::fmt;

/// A broken rule: where, what, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// A file, or a crate.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

impl Violation {
    /// Makes a violation.
    pub fn new(place: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into(), fix: fix.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.problem, self.fix)
    }
}
