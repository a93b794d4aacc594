//! What is told to those who compute with numbers and meet rustc's traits for the first time.

use super::rustc::Complaint;

const FLOATS: [&str; 3] = ["f64", "f32", "{float}"];
const INTEGERS: [&str; 13] = [
    "usize",
    "isize",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "{integer}",
];

/// Advice for an error about orders of floats or about mixed numbers.
pub(super) fn advice(error: &Complaint) -> Option<&'static str> {
    if error.code.as_ref()?.code != "E0277" {
        return None;
    }
    let message = &error.message;
    if FLOATS.iter().any(|float| message.contains(&format!("{float}: Ord`"))) {
        return Some(
            "floats are not `Ord`, as NaN has no place among them: say which order is meant, with \
             `max_by(f64::total_cmp)`, `par_sort_by(f64::total_cmp)` and the like",
        );
    }
    let calculates = ["cannot add", "cannot subtract", "cannot multiply", "cannot divide"];
    let named: Vec<&str> =
        message.split('`').skip(1).step_by(2).map(|t| t.trim_start_matches('&')).collect();
    let has = |types: &[&str]| named.iter().any(|name| types.contains(name));
    (calculates.iter().any(|words| message.starts_with(words)) && has(&FLOATS) && has(&INTEGERS))
        .then_some("numbers of different types are not converted by themselves: write `n as f64`")
}

#[cfg(test)]
mod tests {
    use super::super::rustc::Code;
    use super::*;

    fn advised(message: &str) -> bool {
        let code = Some(Code { code: "E0277".to_owned() });
        let (message, level) = (message.to_owned(), "error".to_owned());
        advice(&Complaint { message, code, level, spans: vec![], children: vec![] }).is_some()
    }

    #[test]
    fn only_floats_and_mixed_numbers_are_advised() {
        assert!(advised("the trait bound `f64: Ord` is not satisfied"));
        assert!(advised("the trait bound `{float}: Ord` is not satisfied"));
        assert!(advised("cannot divide `{float}` by `usize`"));
        assert!(advised("cannot add `&f64` to `i32`"));
        assert!(!advised("cannot add `{integer}` to `bool`"));
        assert!(!advised("cannot add `f64` to `f32`"));
        assert!(!advised("the trait bound `Point: Ord` is not satisfied"));
    }
}
