//! The analyst's process.
/// hook
pub fn hook() {}
/// # Errors
/// none
pub fn serve() -> Result<(), String> {
    let _ = super::question::Question { id: 0, source: String::new(), position: 0, inspect: false };
    Err("not yet".into())
}
