//! The processor for which cells and all that they link are compiled: the one at hand, unless a
//! cluster has several kinds and was told of one that all of them can stand in for.

use std::process::Command;
use std::sync::OnceLock;

use super::{Error, Toolchain};

/// Names the processor for sessions, installations write it into the kernelspec, and the cell library
/// is told by it that it was not compiled for the processor at hand.
pub const TARGET_CPU: &str = "PARCELL_TARGET_CPU";

/// The processor at hand.
const NATIVE: &str = "native";

static CHOSEN: OnceLock<String> = OnceLock::new();

/// The processor that is compiled for, as rustc names it: `$PARCELL_TARGET_CPU`, else `native`.
pub fn target_cpu() -> &'static str {
    CHOSEN.get_or_init(|| {
        let named = std::env::var(TARGET_CPU).ok().filter(|name| !name.is_empty());
        named.unwrap_or_else(|| NATIVE.to_owned())
    })
}

/// Has this process compile for a processor. Nothing changes once [`target_cpu`] was asked.
///
/// # Errors
/// [`Error::Processor`] if there is no such processor, or this one cannot stand in for it.
pub fn compile_for(cpu: &str) -> Result<(), Error> {
    CHOSEN.get_or_init(|| cpu.to_owned());
    check(&Toolchain::find()?)
}

/// The processor, unless it is the one at hand.
pub(super) fn chosen() -> Option<&'static str> {
    Some(target_cpu()).filter(|cpu| *cpu != NATIVE)
}

/// Whether what is compiled for the chosen processor runs here.
pub(super) fn check(toolchain: &Toolchain) -> Result<(), Error> {
    let Some(cpu) = chosen() else { return Ok(()) };
    let here = features(toolchain, NATIVE)?;
    let lacking: Vec<String> =
        features(toolchain, cpu)?.into_iter().filter(|feature| !here.contains(feature)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(Error::Processor(format!(
        "cells are compiled for {cpu} ({TARGET_CPU}), but this processor has no {}; choose an older one",
        lacking.join(", ")
    )))
}

/// The instructions that rustc takes a processor to have.
fn features(toolchain: &Toolchain, cpu: &str) -> Result<Vec<String>, Error> {
    let mut command = Command::new(&toolchain.rustc);
    let output = command.args(["--print", "cfg", &format!("-Ctarget-cpu={cpu}")]).output();
    let output = output.map_err(Error::file(&toolchain.rustc))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || said.contains("not a recognized processor") {
        return Err(Error::Processor(format!(
            "{cpu} is no processor that rustc knows; `rustc --print target-cpus` lists them"
        )));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.strip_prefix("target_feature=\""));
    Ok(names.map(|name| name.trim_end_matches('"').to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_known_by_their_instructions() {
        let toolchain = Toolchain::find().unwrap();
        let native = features(&toolchain, NATIVE).unwrap();
        let base = if cfg!(target_arch = "x86_64") { "x86-64" } else { "generic" };
        assert!(features(&toolchain, base).unwrap().iter().all(|f| native.contains(f)));
        let unknown = features(&toolchain, "abacus").unwrap_err().to_string();
        assert_eq!(
            unknown,
            "abacus is no processor that rustc knows; `rustc --print target-cpus` lists them"
        );
    }
}
