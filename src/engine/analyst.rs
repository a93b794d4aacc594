//! Completion and inspection.
use std::sync::Arc;
use super::{Inspection, Outline};
use crate::cells::Library;
use crate::stage::{Completion, Completions};

/// Answers questions about source text on a thread of its own.
#[derive(Debug, Clone, Default)]
pub struct Analyst {}
impl Analyst {
    /// none
    pub fn know(&self, _outline: Arc<Outline>, _library: &Library) {}
    /// none
    pub fn complete(&self, _code: &str, _cursor: usize) -> Completions { let _ = Vec::<Completion>::new(); Completions::default() }
    /// none
    pub fn inspect(&self, _code: &str, _cursor: usize, _detail: u8) -> Inspection { None }
}
