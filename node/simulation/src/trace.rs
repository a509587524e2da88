//! What happened, as a number to compare runs by, and as lines for people.

use std::collections::VecDeque;

/// Lines that are kept.
const LINES_MAX: usize = 400;

/// How much of a run is put into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Nothing: only the number.
    Number,
    /// The last lines.
    Tail,
    /// Every line, printed as it happens.
    All,
}

pub(crate) struct Trace {
    detail: Detail,
    hash: u64,
    lines: VecDeque<String>,
}

impl Trace {
    pub(crate) fn new(detail: Detail) -> Self {
        Self { detail, hash: 0xCBF2_9CE4_8422_2325, lines: VecDeque::new() }
    }

    /// Lets the number depend on something that happened.
    pub(crate) fn mix(&mut self, now_us: u64, what: &[u64]) {
        for word in [now_us].iter().chain(what) {
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(17);
        }
    }

    pub(crate) fn line(&mut self, now_us: u64, text: impl FnOnce() -> String) {
        if self.detail == Detail::Number {
            return;
        }
        let line = format!("{:>10.3} ms  {}", now_us as f64 / 1000.0, text());
        if self.detail == Detail::All {
            println!("{line}");
        }
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}
