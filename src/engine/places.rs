//! Which processes a cell runs on, which of them hold a variable, and what a cell is told that uses
//! one where it is not.

use std::collections::BTreeSet;

use parcell_link::{Place, Where};

use super::Variable;

/// The processes that run a cell.
pub(super) fn of_cell(on: &Where, workers: &BTreeSet<u32>) -> Place {
    match on {
        Where::Driver => Place::default(),
        Where::Everywhere => Place { driver: true, workers: workers.clone() },
        Where::Workers { targets: None, .. } => Place { driver: false, workers: workers.clone() },
        Where::Workers { targets: Some(ids), .. } => {
            Place { driver: false, workers: ids.iter().copied().collect() }
        }
    }
}

/// Where and by what a cell was run, for a sentence about what it bound.
pub(super) fn origin(source: &str, on: &Where) -> String {
    let cell = source.strip_prefix("In[").map(|rest| rest.replacen(']', "", 1));
    let cell = cell.map_or_else(|| source.to_owned(), |number| format!("cell {number}"));
    match on {
        Where::Driver => cell,
        Where::Everywhere => format!("{cell} by `%%everywhere`"),
        Where::Workers { .. } => format!("{cell} by `%%px`"),
    }
}

/// The processes in words: `the driver and workers 2, 3`.
pub fn in_words(place: &Place) -> String {
    let ids: Vec<String> = place.workers.iter().map(u32::to_string).collect();
    let workers = match ids.as_slice() {
        [] => None,
        [one] => Some(format!("worker {one}")),
        many => Some(format!("workers {}", many.join(", "))),
    };
    match (place.driver, workers) {
        (true, None) => "the driver".to_owned(),
        (true, Some(workers)) => format!("the driver and {workers}"),
        (false, Some(workers)) => workers,
        (false, None) => "no process".to_owned(),
    }
}

/// Why a cell that runs on `place` cannot use a variable that other processes hold, to be said of
/// the variable. `origin` is the cell that bound it.
pub(super) fn why_not(variable: &Variable, origin: Option<&String>, place: &Place) -> String {
    let held = &variable.place;
    let origin = origin.map(|cell| format!(" (bound in {cell})")).unwrap_or_default();
    let there = in_words(held);
    if place.driver && !held.driver {
        let one = held.workers.first().copied().unwrap_or(2);
        return format!(
            "is on {there}{origin}, not on the driver: bring here what a function computes there \
             (`fetch_from!({one}, f())`), or bind it in an `%%everywhere` cell"
        );
    }
    if held.workers.is_empty() {
        let one = place.workers.first().copied().unwrap_or(2);
        return format!(
            "is on {there} only{origin}: bind it in an `%%everywhere` cell, or send its value along \
             with what captures it, `spawn_at!({one}, …)` or `everywhere!(…)`"
        );
    }
    let missing = in_words(&place.without(held));
    format!(
        "is on {there}{origin}, not on {missing}: run that cell again, or name other `--targets`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(driver: bool, ids: &[u32]) -> Place {
        Place { driver, workers: ids.iter().copied().collect() }
    }

    fn told(held: Place, cell: &Place) -> String {
        let (name, type_name) = ("x".to_owned(), "f64".to_owned());
        let variable = Variable { name, type_name, mutable: false, place: held };
        why_not(&variable, Some(&"cell 3 by `%%px`".to_owned()), cell)
    }

    #[test]
    fn a_cell_runs_where_its_magic_says() {
        let workers = BTreeSet::from([2, 3, 5]);
        let on = |targets| Where::Workers { targets, group: Default::default(), wait: true };
        assert_eq!(of_cell(&Where::Driver, &workers), Place::default());
        assert_eq!(of_cell(&Where::Everywhere, &workers), place(true, &[2, 3, 5]));
        assert_eq!(of_cell(&on(None), &workers), place(false, &[2, 3, 5]));
        assert_eq!(of_cell(&on(Some(vec![3])), &workers), place(false, &[3]));
        assert_eq!(origin("In[4]'", &Where::Everywhere), "cell 4' by `%%everywhere`");
        assert_eq!(origin("In[4]", &Where::Driver), "cell 4");
    }

    #[test]
    fn advice_depends_on_what_is_missing_where() {
        let text = told(place(false, &[3, 4]), &Place::default());
        assert!(text.starts_with("is on workers 3, 4 (bound in cell 3 by `%%px`), not on the dr"));
        assert!(text.contains("`fetch_from!(3, f())`") && text.contains("`%%everywhere`"));
        let text = told(Place::default(), &place(false, &[2]));
        assert!(text.starts_with("is on the driver only") && text.contains("`spawn_at!(2, …)`"));
        let text = told(place(true, &[2]), &place(true, &[2, 7]));
        assert!(text.starts_with("is on the driver and worker 2 (") && text.contains("worker 7:"));
    }
}
