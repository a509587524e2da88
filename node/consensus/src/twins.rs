//! Engines for nodes and tests that must not decide by themselves.

use purlin_primitives::TimestampMs;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::port::{ConsensusEngine, Effect, Input};

/// Decides nothing: the node serves what it has.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEngine;

impl ConsensusEngine for NoEngine {
    fn name(&self) -> &'static str {
        "none"
    }

    fn handle(&mut self, _now: TimestampMs, _input: Input) -> Vec<Effect> {
        Vec::new()
    }
}

/// What a [`ScriptedEngine`] was told, in order; shared with the test.
pub type ScriptLog = Arc<Mutex<Vec<Input>>>;

/// Answers with prepared effects, one list per input, and remembers the inputs: for tests of a driver.
#[derive(Debug, Default)]
pub struct ScriptedEngine {
    script: VecDeque<Vec<Effect>>,
    log: ScriptLog,
}

impl ScriptedEngine {
    /// Makes an engine that answers the n-th input with the n-th list, and nothing after the last.
    pub fn new(script: impl IntoIterator<Item = Vec<Effect>>) -> Self {
        Self { script: script.into_iter().collect(), log: ScriptLog::default() }
    }

    /// Returns what it was told so far; stays connected.
    pub fn log(&self) -> ScriptLog {
        Arc::clone(&self.log)
    }
}

impl ConsensusEngine for ScriptedEngine {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn handle(&mut self, _now: TimestampMs, input: Input) -> Vec<Effect> {
        self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(input);
        self.script.pop_front().unwrap_or_default()
    }
}
