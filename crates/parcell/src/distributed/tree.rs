//! Who asks whom for code. The driver, which has all of it, would send a module once to every process
//! elsewhere; so one process of each host fetches it for all of that host, and these form a tree with
//! the driver at its top.
//!
//! Each process decides by what it knows of the others. Whoever is above has a smaller id, whatever
//! one knows, so no two ever wait for each other.

use std::collections::BTreeMap;

/// So many hosts ask the same process. More would have it send longer, fewer make more steps.
const FAN: usize = 4;

/// The driver.
const TOP: u32 = 1;

/// Whom `me` asks for code: the driver if 1. `places` are the processes that live on other hosts than
/// the driver, with the names of these hosts; `me` need not be among them.
pub(crate) fn parent(me: u32, place: &str, places: &[(u32, String)]) -> u32 {
    let first = first_of(places);
    if let Some(first) = first.get(place).filter(|first| **first < me) {
        return *first;
    }
    let others = first.into_iter().filter(|(other, first)| *other != place && *first < me);
    let mut before: Vec<u32> = others.map(|(_, first)| first).collect();
    before.sort_unstable();
    if before.len() < FAN { TOP } else { before[before.len() / FAN - 1] }
}

/// Whether others may ask `me`.
pub(crate) fn is_asked(me: u32, places: &[(u32, String)]) -> bool {
    places.iter().any(|(id, place)| *id > me && parent(*id, place, places) == me)
}

/// The process of each host that fetches for all of it.
fn first_of(places: &[(u32, String)]) -> BTreeMap<&str, u32> {
    let mut first = BTreeMap::new();
    for (id, place) in places {
        let known = first.entry(place.as_str()).or_insert(*id);
        *known = (*known).min(*id);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many processes on each host, in turns as a scheduler may deal them.
    fn cluster(hosts: u32, each: u32) -> Vec<(u32, String)> {
        (0..hosts * each).map(|n| (n + 2, format!("h{}", n % hosts))).collect()
    }

    fn parents(places: &[(u32, String)]) -> Vec<u32> {
        places.iter().map(|(id, place)| parent(*id, place, places)).collect()
    }

    #[test]
    fn one_process_of_a_host_fetches_for_all_of_it() {
        assert_eq!(parents(&cluster(2, 3)), [1, 1, 2, 3, 2, 3]);
        assert_eq!(parent(9, "h", &[]), 1, "nobody else is known");
    }

    #[test]
    fn hosts_form_a_tree_with_a_bounded_fan() {
        assert_eq!(parents(&cluster(10, 1)), [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);
        let all = cluster(1000, 2);
        let parents = parents(&all);
        for who in 1..2002 {
            let hosts = parents[..1000].iter().filter(|parent| **parent == who).count();
            assert!(hosts <= FAN, "{who} sends to {hosts} hosts");
        }
        let above = |id: u32| parents[id as usize - 2];
        let steps = |mut id| {
            let mut steps = 0;
            while id != TOP {
                id = above(id);
                steps += 1;
            }
            steps
        };
        assert_eq!((2..2002).map(steps).max(), Some(6), "log4 of the hosts, and one on the host");
    }

    #[test]
    fn whoever_is_above_has_a_smaller_id_whatever_is_known() {
        let all = cluster(7, 5);
        for seed in 0..200_u32 {
            let known = |(id, _): &&(u32, String)| (id * 2_654_435_761).rotate_left(seed) % 3 != 0;
            let some: Vec<_> = all.iter().filter(known).cloned().collect();
            for (me, place) in &all {
                assert!(parent(*me, place, &some) < *me);
            }
        }
    }

    #[test]
    fn those_who_are_asked_know_it() {
        let all = cluster(6, 2);
        let parents = parents(&all);
        for (id, _) in &all {
            assert_eq!(is_asked(*id, &all), parents.contains(id), "{id}");
        }
    }
}
