//! What the processors of different hosts can do. Cells are compiled for the driver's; a host whose
//! processor lacks one of its instructions would end in the middle of a call (`SIGILL`).

use std::fs;
use std::sync::LazyLock;

/// Instructions that compilers use by themselves, as Linux names them.
const USED: [&str; 32] = [
    "pni",
    "ssse3",
    "sse4_1",
    "sse4_2",
    "popcnt",
    "cx16",
    "lahf_lm",
    "abm",
    "movbe",
    "aes",
    "pclmulqdq",
    "avx",
    "f16c",
    "fma",
    "bmi1",
    "bmi2",
    "avx2",
    "adx",
    "sha_ni",
    "gfni",
    "vaes",
    "vpclmulqdq",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512cd",
    "avx512dq",
    "avx512vl",
    "avx512ifma",
    "avx512vbmi",
    "asimd",
    "sve",
];

static FEATURES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    parse(&text).map(str::to_owned).collect()
});

/// Those of the instructions that this processor has.
pub(crate) fn features() -> Vec<String> {
    FEATURES.clone()
}

/// The instructions of this processor that another has not.
pub(crate) fn lacking(theirs: &[String]) -> Vec<String> {
    FEATURES.iter().filter(|feature| !theirs.contains(feature)).cloned().collect()
}

/// Why a host cannot take part.
pub(crate) fn refusal(host: &str, lacking: &[String]) -> String {
    let lacking = lacking.join(", ");
    format!(
        "the processor of {host} has no {lacking}, for which cells are compiled here; start the \
         kernel on a host like it"
    )
}

fn parse(cpuinfo: &str) -> impl Iterator<Item = &str> {
    let wanted = |line: &&str| line.starts_with("flags") || line.starts_with("Features");
    let line = cpuinfo.lines().find(wanted).unwrap_or_default();
    let list = line.split_once(':').map_or("", |(_, list)| list);
    list.split_whitespace().filter(|name| USED.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_compilers_use_counts() {
        let text = "processor : 0\nflags\t\t: fpu vme avx2 hypervisor fma\nflags : again\n";
        assert_eq!(parse(text).collect::<Vec<_>>(), ["avx2", "fma"]);
        assert_eq!(parse("").count(), 0);
    }

    #[test]
    fn a_host_is_told_what_it_lacks() {
        let all = features();
        assert!(lacking(&all).is_empty());
        if let Some((last, others)) = all.split_last() {
            assert_eq!(&lacking(others), std::slice::from_ref(last));
            assert!(refusal("n1", &lacking(others)).contains(last));
        }
    }
}
