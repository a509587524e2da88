//! What a person may want to read about a transaction: bounded, node-local, never hashed.

use purlin_abi::limits;
use purlin_primitives::AppId;
use std::fmt::Write;

/// Most bytes kept of backtraces.
const BACKTRACE_BYTES_MAX: usize = 16 * 1024;
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Collects the lines of one transaction or query.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    lines: Vec<String>,
    dropped: usize,
    backtraces: String,
}

impl Diagnostics {
    /// Keeps a log line of an application.
    pub(crate) fn log(&mut self, app: &AppId, level: u8, text: &str) {
        let level = LEVELS[usize::from(level).min(LEVELS.len() - 1)];
        self.line(|| format!("{level} {app}: {}", cut(text, limits::LOG_BYTES_MAX)));
    }

    /// Keeps a line of the host's own.
    pub(crate) fn note(&mut self, text: String) {
        self.line(|| text);
    }

    fn line(&mut self, text: impl FnOnce() -> String) {
        if self.lines.len() < limits::LOG_LINES_MAX {
            self.lines.push(text());
        } else {
            self.dropped += 1;
        }
    }

    /// Keeps the call stack of a failed call.
    pub(crate) fn backtrace(&mut self, app: &AppId, text: &str) {
        let left = BACKTRACE_BYTES_MAX.saturating_sub(self.backtraces.len());
        if left > 0 {
            self.backtraces.push_str(cut(&format!("backtrace of {app}:\n{}\n", text.trim_end()), left));
        }
    }

    /// Returns everything as one text and starts over; `None` when there is nothing to read.
    pub(crate) fn take(&mut self) -> Option<String> {
        if self.lines.is_empty() && self.backtraces.is_empty() {
            return None;
        }
        let taken = std::mem::take(self);
        let mut text = taken.lines.join("\n");
        if taken.dropped > 0 {
            write!(text, "\n({} more lines dropped)", taken.dropped)
                .expect("writing to a string cannot fail");
        }
        if !text.is_empty() && !taken.backtraces.is_empty() {
            text.push('\n');
        }
        text.push_str(taken.backtraces.trim_end());
        Some(text)
    }
}

/// Returns at most `max` bytes, cut at a character boundary.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_backtraces_are_bounded() {
        let app: AppId = "noisy".parse().unwrap();
        let mut diagnostics = Diagnostics::default();
        assert_eq!(diagnostics.take(), None);
        for _ in 0..limits::LOG_LINES_MAX + 7 {
            diagnostics.log(&app, 9, &"é".repeat(limits::LOG_BYTES_MAX));
        }
        for _ in 0..100 {
            diagnostics.backtrace(&app, &"frame\n".repeat(1_000));
        }
        let text = diagnostics.take().unwrap();
        assert!(text.contains("(7 more lines dropped)"));
        assert!(text.starts_with("trace noisy: é"));
        assert!(text.len() < limits::LOG_LINES_MAX * (limits::LOG_BYTES_MAX + 32) + 2 * BACKTRACE_BYTES_MAX);
        assert_eq!(diagnostics.take(), None);
    }
}
