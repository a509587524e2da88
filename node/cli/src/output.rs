//! Data goes to standard output, everything else to standard error.

use serde_json::Value;
use std::io::{IsTerminal, Write};

use crate::error::CliError;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines for a person.
    Text,
    /// One JSON value, for programs.
    Json,
}

/// Prints results and progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Chosen by `--json`.
    pub(crate) format: Format,
    /// Chosen by `--quiet`.
    pub(crate) quiet: bool,
}

impl Output {
    /// Prints the command's result: `text` for a person, `json` for a program.
    pub(crate) fn result(&self, json: impl FnOnce() -> Value, text: impl FnOnce() -> String) {
        let line = match self.format {
            Format::Json => json().to_string(),
            Format::Text => text(),
        };
        // A closed pipe is the reader's choice, not an error of ours.
        let _ = writeln!(std::io::stdout(), "{}", line.trim_end_matches('\n'));
    }

    /// Says what is going on, to standard error; silent with `--quiet` and `--json`.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet && self.format == Format::Text {
            let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
        }
    }

    /// Says whether a progress bar has somewhere to be: a person at a terminal.
    pub(crate) fn has_progress_bar(&self) -> bool {
        !self.quiet && self.format == Format::Text && std::io::stderr().is_terminal()
    }

    /// Prints a failure to standard error, as JSON with `--json`.
    pub(crate) fn failure(&self, error: &CliError) {
        let mut stderr = std::io::stderr();
        if self.format == Format::Json {
            let value = serde_json::json!({
                "error": { "code": error.code, "message": error.message, "hint": error.hint, "exit": error.kind as u8 }
            });
            let _ = writeln!(stderr, "{value}");
            return;
        }
        let (red, cyan, reset) =
            if stderr.is_terminal() { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
        let code = error.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
        let _ = writeln!(stderr, "{red}error{reset}{code}: {}", error.message);
        if let Some(hint) = &error.hint {
            let _ = writeln!(stderr, " {cyan}hint{reset}: {hint}");
        }
    }
}

/// Lays out rows in columns with a header, two spaces apart.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        padded.join("  ").trim_end().to_string()
    };
    let mut lines = vec![line(&mut header.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}
