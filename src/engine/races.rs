//! What a beginner is told when rustc refuses a data race: why, and the ways out.

use super::rustc::Complaint;

/// What tells that a cell computes with several threads.
const PARALLEL: [&str; 5] = ["par_", "rayon", "spawn", "sync(", "scope("];

/// Advice for an error that comes from sharing a variable between threads. `text` is the cell that
/// the error stands in.
pub(super) fn advice(error: &Complaint, text: &str) -> Option<String> {
    if let Some(advice) = of_processes(error, text) {
        return Some(advice);
    }
    if !PARALLEL.iter().any(|word| text.contains(word)) {
        return None;
    }
    let variable = error.message.split('`').nth(1)?;
    let spawns = text.contains("spawn");
    match error.code.as_ref()?.code.as_str() {
        "E0594" | "E0596" if error.message.contains("`Fn` closure") => {
            Some(changed_by_all(variable, text))
        }
        "E0499" if spawns => Some(format!(
            "the tasks run at the same time, and more than one would change `{variable}`: a data \
             race{}",
            ways_out(variable)
        )),
        "E0502" | "E0503" | "E0505" | "E0506" if spawns => Some(format!(
            "a task that was spawned may still use `{variable}`: use it here after `sync` has \
             returned, which waits for all of its tasks"
        )),
        "E0373" if text.contains("sync(") => Some(
            "a task may outlive what it borrows here: declare that before `sync`, which waits for \
             its tasks, or let the task own it (`move`)"
                .to_owned(),
        ),
        "E0373" if spawns => Some(
            "a task may run longer than the statement that spawns it, so it cannot borrow. Within \
             `sync(|s| { s.spawn(|| …); })` it can: `sync` returns when all of its tasks have ended"
                .to_owned(),
        ),
        "E0277" => not_for_threads(&error.message),
        _ => None,
    }
}

/// Macros whose expressions run in other processes.
const REMOTE: [&str; 5] = ["distributed!", "remote!", "spawn_at!", "fetch_from!", "everywhere!"];

/// Functions whose closures other processes call, if they are those of distributed arrays and maps.
const MAPS: [&str; 6] = ["map(", "from_fn(", "from_blocks(", "map_reduce(", ".update(", ".init("];

/// Advice for an error in what other processes run.
fn of_processes(error: &Complaint, text: &str) -> Option<String> {
    if error.message.ends_with(ONLY_VALUES) && error.children.is_empty() {
        let advice = "give a value that owns its data, `String` in place of `&str` \
                      (`.to_string()`), `Vec` in place of a slice (`.to_vec()`)";
        return Some(advice.to_owned());
    }
    let borrows = error.message.starts_with("closure may outlive");
    if borrows && MAPS.iter().any(|word| text.contains(word)) && !text.contains("spawn") {
        return Some(
            "if other processes are to run this closure, put it into `remote!(…)`, which takes along \
             what the closure uses"
                .to_owned(),
        );
    }
    if !REMOTE.iter().any(|word| text.contains(word)) {
        return None;
    }
    let told = |words: &str| error.children.iter().any(|c| c.message.contains(words));
    match error.code.as_ref()?.code.as_str() {
        "E0594" | "E0596" if error.message.contains("`Fn` closure") => {
            Some(changed_copy(error.message.split('`').nth(1).filter(|name| *name != "Fn")))
        }
        "E0308" if error.message == "mismatched types" && told("do not capture any variables") => {
            Some(
                "what runs in another process can call functions and closures that keep no \
                 values, since their type alone says what they do; this closure keeps values of \
                 its surroundings. Ways out:\n  \
                 argument   define it as `fn` and give it the values as arguments\n  \
                 inside     write the closure inside of the expression\n  \
                 remote     let f = remote!(|x| …);  then  f.call((x,)) in any process"
                    .to_owned(),
            )
        }
        "E0308" if told("expected fn pointer") && told("found struct `Box<dyn") => Some(
            "a boxed closure does not tell its type, so no other process can know what it does: \
             define it as `fn`, or make it by `remote!(|x| …)`"
                .to_owned(),
        ),
        _ => None,
    }
}

const ONLY_VALUES: &str = "is a reference, and only a value can be sent to another process";

/// rustc says of each use of a reference in a call to another process that its `Deserialize` is not
/// general enough: the first is shown in plain words, the others are left out.
pub(super) fn references_told_once(errors: &[&Complaint]) -> Vec<Complaint> {
    let puzzling = |e: &Complaint| e.message.contains("`Deserialize` is not general enough");
    let mut told = false;
    let once = errors.iter().filter(|e| !puzzling(e) || !std::mem::replace(&mut told, true));
    once.map(|&error| if puzzling(error) { in_plain_words(error) } else { error.clone() }).collect()
}

fn in_plain_words(error: &Complaint) -> Complaint {
    let note = error.children.first().and_then(|note| note.message.split('`').nth(1));
    let kind = note.filter(|kind| kind.starts_with('&')).unwrap_or("&_");
    let mut plain = error.clone();
    plain.message = format!("`{kind}` {ONLY_VALUES}");
    plain.children.clear();
    for span in &mut plain.spans {
        span.label = Some("refers to memory of one process".to_owned());
    }
    plain
}

/// A closure that many processes call changes a variable that it captured.
fn changed_copy(variable: Option<&str>) -> String {
    let quoted = variable.map_or_else(|| "a variable".to_owned(), |name| format!("`{name}`"));
    let name = variable.unwrap_or("result");
    format!(
        "each worker has a copy of {quoted} of its own, so a change would be seen by nobody. Ways \
         out, the fastest first:\n  \
         reduction  let {name} = distributed!(+, for i in 0..n {{ … }});\n  \
         array      a `SharedArray`, whose elements all local workers can change\n  \
         channel    a `RemoteChannel` into which each worker puts what it finds"
    )
}

/// A closure that many threads call changes a variable of the cell.
fn changed_by_all(variable: &str, text: &str) -> String {
    let why = format!(
        "the threads of the pool call this closure at the same time, so it must not change \
         `{variable}`: two threads would do so at once, a data race, and one of the changes would \
         be lost"
    );
    if text.contains(&format!("{variable}[[")) {
        return format!(
            "{why}. If each iteration changes a row or an element of its own, give it that:\n  \
             by row      par_for({variable}.outer_iter_mut()).enumerate()\
             .for_each(|(i, mut row)| …)\n  \
             by element  ndarray::Zip::indexed(&mut {variable}).par_for_each(|(i, j), x| *x = …)"
        );
    }
    if text.contains(&format!("{variable}[")) {
        return format!(
            "{why}. If each iteration changes an element of its own, give it that element:\n  \
             by element  par_for(&mut {variable}).for_each(|x| *x = …)\n  \
             with index  par_for(&mut {variable}).enumerate().for_each(|(i, x)| *x = …)"
        );
    }
    if text.contains(&format!("{variable}.push(")) {
        return format!(
            "{why}. Let the loop make the items and gather them, in order:\n  \
             collect     let {variable}: Vec<_> = (0..n).into_par_iter().map(|i| …).collect();"
        );
    }
    format!("{why}{}", ways_out(variable))
}

fn ways_out(variable: &str) -> String {
    format!(
        ". Ways out, the fastest first:\n  \
         reduction   let {variable} = par_for(0..n).map_reduce(|i| …, |a, b| a + b, 0);\n  \
         atomic      let {variable} = Atomic::new(0);  then  {variable}.fetch_add(…);\n  \
         lock        let {variable} = std::sync::Mutex::new(0);  then  *{variable}.lock().unwrap() += …;"
    )
}

/// A type that only one thread at a time may touch.
fn not_for_threads(message: &str) -> Option<String> {
    if !message.ends_with("between threads safely") {
        return None;
    }
    let inner = message.split('`').nth(1)?;
    let advice = if inner.starts_with("Rc<") || inner.contains("rc::Rc<") {
        "`Rc` counts its owners without regard to other threads. `std::sync::Arc` counts them \
         atomically and is used in the same way"
    } else if ["Cell<", "RefCell<", "OnceCell<"].iter().any(|cell| inner.starts_with(cell)) {
        "a cell changes its value without regard to other threads. `Atomic` does for numbers, \
         `std::sync::Mutex` for any type"
    } else {
        return None;
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::rustc::Code;
    use super::*;

    fn advice_for(code: &str, message: &str, text: &str) -> Option<String> {
        let code = Some(Code { code: code.to_owned() });
        let (message, level) = (message.to_owned(), "error".to_owned());
        advice(&Complaint { message, code, level, spans: vec![], children: vec![] }, text)
    }

    #[test]
    fn serial_code_gets_no_advice() {
        let assigns = "cannot assign to `n`, as it is a captured variable in a `Fn` closure";
        assert_eq!(advice_for("E0594", assigns, "call(|| n += 1);"), None);
        assert!(advice_for("E0594", assigns, "par_for(0..9).for_each(|_| n += 1);").is_some());
        assert_eq!(advice_for("E0277", "the trait bound `T: Copy` is not met", "rayon"), None);
    }

    #[test]
    fn arrays_of_two_dimensions_are_cut_otherwise_than_lists() {
        let borrows =
            "cannot borrow `a` as mutable, as it is a captured variable in a `Fn` closure";
        let told = |text| advice_for("E0596", borrows, text).unwrap();
        assert!(told("par_for(0..9).for_each(|i| a[i] = i);").contains("par_for(&mut a)"));
        let array = told("par_for((9, 9)).for_each(|(i, j)| a[[i, j]] = i);");
        assert!(array.contains("Zip::indexed(&mut a)") && !array.contains("par_for(&mut a)"));
    }
}
