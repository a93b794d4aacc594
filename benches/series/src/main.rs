//! The slow series as a program: `series FORM TERMS` prints seconds and sum.

include!("slow.rs");

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let form = if arguments[1] == "slow" { slow } else { slow_parallel };
    measure(form, arguments[2].parse().expect("a number of terms"));
}
