//! What the processors of different hosts can do. The cell library and cells are compiled for the
//! driver's processor, or for the kind that `PARCELL_TARGET_CPU` named; a host whose processor lacks
//! one of its instructions would end in the middle of a call (`SIGILL`).

use std::fs;
use std::sync::LazyLock;

/// Instructions that compilers use by themselves: as Linux names them, and whether this library was
/// compiled for processors that have them.
macro_rules! used {
    ($($linux:literal $rust:literal,)*) => {
        &[$(($linux, cfg!(target_feature = $rust))),*]
    };
}

#[cfg(not(target_arch = "aarch64"))]
const USED: &[(&str, bool)] = used! {
    "pni" "sse3",
    "ssse3" "ssse3",
    "sse4_1" "sse4.1",
    "sse4_2" "sse4.2",
    "sse4a" "sse4a",
    "popcnt" "popcnt",
    "cx16" "cmpxchg16b",
    // Rust does not tell of it; whatever has the one has the other.
    "lahf_lm" "sse4.2",
    "abm" "lzcnt",
    "movbe" "movbe",
    "aes" "aes",
    "pclmulqdq" "pclmulqdq",
    "avx" "avx",
    "f16c" "f16c",
    "fma" "fma",
    "bmi1" "bmi1",
    "bmi2" "bmi2",
    "avx2" "avx2",
    "adx" "adx",
    "sha_ni" "sha",
    "gfni" "gfni",
    "vaes" "vaes",
    "vpclmulqdq" "vpclmulqdq",
    "avx_vnni" "avxvnni",
    "avx512f" "avx512f",
    "avx512bw" "avx512bw",
    "avx512cd" "avx512cd",
    "avx512dq" "avx512dq",
    "avx512vl" "avx512vl",
    "avx512ifma" "avx512ifma",
    "avx512vbmi" "avx512vbmi",
    "avx512_vbmi2" "avx512vbmi2",
    "avx512_vnni" "avx512vnni",
    "avx512_bitalg" "avx512bitalg",
    "avx512_vpopcntdq" "avx512vpopcntdq",
    "avx512_bf16" "avx512bf16",
};

#[cfg(target_arch = "aarch64")]
const USED: &[(&str, bool)] = used! {
    "asimd" "neon",
    "atomics" "lse",
    "asimdrdm" "rdm",
    "asimdhp" "fp16",
    "asimddp" "dotprod",
    "crc32" "crc",
    "aes" "aes",
    "sha2" "sha2",
    "sha3" "sha3",
    "lrcpc" "rcpc",
    "jscvt" "jsconv",
    "fcma" "fcma",
    "bf16" "bf16",
    "i8mm" "i8mm",
    "sve" "sve",
    "sve2" "sve2",
};

/// The kinds of processors that most clusters have, newest first, and what each has beyond the next.
#[cfg(not(target_arch = "aarch64"))]
const KINDS: &[(&str, &[&str])] = &[
    ("x86-64-v4", &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]),
    ("x86-64-v3", &["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"]),
    ("x86-64-v2", &["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"]),
    ("x86-64", &[]),
];
#[cfg(target_arch = "aarch64")]
const KINDS: &[(&str, &[&str])] = &[("generic", &[])];

/// The processor for which this library was compiled, if it is not the one at hand.
const CHOSEN: Option<&str> = option_env!("PARCELL_TARGET_CPU");

static FEATURES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    parse(&text).map(str::to_owned).collect()
});

/// Those of the instructions that this processor has.
pub(crate) fn features() -> Vec<String> {
    FEATURES.clone()
}

/// Those that a processor must have to run the cell library and cells.
pub(crate) fn needed() -> Vec<String> {
    match CHOSEN {
        Some(_) => USED.iter().filter(|(_, used)| *used).map(|(f, _)| (*f).to_owned()).collect(),
        // What `native` means is all that this processor has, also what Rust does not tell of.
        None => features(),
    }
}

/// What another processor lacks of what is needed.
pub(crate) fn lacking(theirs: &[String]) -> Vec<String> {
    needed().into_iter().filter(|feature| !theirs.contains(feature)).collect()
}

/// Why a host cannot take part.
pub(crate) fn refusal(host: &str, lacking: &[String]) -> String {
    let kind = kind_without(lacking);
    let lacking = lacking.join(", ");
    format!(
        "the processor of {host} has no {lacking}, for which cells are compiled here; start the \
         kernel on a host like it, or have all code made for both: `parcell install --target-cpu {kind}`"
    )
}

/// The newest kind of processor that has none of these instructions.
fn kind_without(lacking: &[String]) -> &'static str {
    let has = |at: usize, feature: &String| {
        KINDS[at..].iter().any(|(_, features)| features.contains(&feature.as_str()))
    };
    let without = (0..KINDS.len()).find(|at| !lacking.iter().any(|feature| has(*at, feature)));
    KINDS[without.unwrap_or(KINDS.len() - 1)].0
}

fn parse(cpuinfo: &str) -> impl Iterator<Item = &str> {
    let wanted = |line: &&str| line.starts_with("flags") || line.starts_with("Features");
    let line = cpuinfo.lines().find(wanted).unwrap_or_default();
    let list = line.split_once(':').map_or("", |(_, list)| list);
    list.split_whitespace().filter(|name| USED.iter().any(|(used, _)| used == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_compilers_use_counts() {
        let used: Vec<&str> = USED.iter().take(2).map(|(name, _)| *name).collect();
        let list = used.join(" hypervisor ");
        let text = format!("processor : 0\nflags\t\t: fpu vme {list}\nflags : again\n");
        assert_eq!(parse(&text).collect::<Vec<_>>(), used);
        assert_eq!(parse("").count(), 0);
    }

    #[test]
    fn a_host_is_told_what_it_lacks() {
        let all = needed();
        assert!(lacking(&features()).is_empty());
        if let Some((last, others)) = all.split_last() {
            assert_eq!(&lacking(others), std::slice::from_ref(last));
            assert!(refusal("n1", &lacking(others)).contains(last));
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_kind_for_both_is_named() {
        let kind = |lacking: &[&str]| {
            kind_without(&lacking.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(kind(&["avx512_vpopcntdq"]), "x86-64-v4");
        assert_eq!(kind(&["avx512f", "gfni"]), "x86-64-v3");
        assert_eq!(kind(&["fma", "avx512f"]), "x86-64-v2");
        assert_eq!(kind(&["cx16"]), "x86-64");
    }
}
