//! When workers are started and when they are let go. No processes here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parcell_link::Adaptive;

/// Calls that wait for less time than this are soon served by the workers that there are.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long nothing is tried after a first failure; doubled by each further one.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest such time.
const LONGEST: Duration = Duration::from_secs(320);

/// What there is at a moment.
pub(super) struct Seen<'a> {
    pub(super) now: Instant,
    /// How many calls wait for a free worker.
    pub(super) waiting: usize,
    /// How many workers may still come.
    pub(super) coming: usize,
    /// Those that are there, ascending, and whether they have something to do.
    pub(super) workers: &'a [(u32, bool)],
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Rest,
    Grow(usize),
    /// These have had nothing to do for long.
    LetGo(Vec<u32>),
}

/// What was seen before.
#[derive(Debug, Default)]
pub(super) struct Policy {
    /// Since when calls wait though no worker is coming.
    wait_since: Option<Instant>,
    /// Since when each worker has had nothing to do.
    idle_since: HashMap<u32, Instant>,
    failures: u32,
    /// Nothing is started before.
    not_before: Option<Instant>,
}

impl Policy {
    pub(super) fn step(&mut self, span: &Adaptive, seen: &Seen<'_>) -> Step {
        let more = self.more(span, seen);
        let idle = self.idle(span, seen);
        if more > 0 {
            self.wait_since = None;
            return Step::Grow(more);
        }
        if idle.is_empty() { Step::Rest } else { Step::LetGo(idle) }
    }

    /// Workers could not be started. Says when it is tried again.
    pub(super) fn failed(&mut self, now: Instant) {
        if self.not_before.is_some_and(|time| now < time) {
            // Of a launch that fails each worker tells.
            return;
        }
        let pause = PAUSE.saturating_mul(1 << self.failures.min(5)).min(LONGEST);
        self.failures += 1;
        self.not_before = Some(now + pause);
    }

    /// How many workers to start: what is missing of the least number, or, when calls have waited for
    /// long enough, as many as wait, though not more than there are.
    fn more(&mut self, span: &Adaptive, seen: &Seen<'_>) -> usize {
        let Seen { now, waiting, coming, workers } = *seen;
        if workers.iter().any(|(id, _)| !self.idle_since.contains_key(id)) && coming == 0 {
            // Those that were started last have come.
            self.failures = 0;
        }
        if coming > 0 || self.not_before.is_some_and(|time| now < time) {
            self.wait_since = None;
            return 0;
        }
        let there = workers.len();
        if there < span.least {
            return span.least - there;
        }
        if waiting == 0 {
            self.wait_since = None;
            return 0;
        }
        let since = *self.wait_since.get_or_insert(now);
        let step = waiting.min(there.max(1)).min(span.most.saturating_sub(there));
        if now - since >= PATIENCE { step } else { 0 }
    }

    /// Those that have been idle for long while nothing waits. The first, as many as the least number,
    /// stay. Each is named once, and again after as long a time.
    fn idle(&mut self, span: &Adaptive, seen: &Seen<'_>) -> Vec<u32> {
        let Seen { now, waiting, workers, .. } = *seen;
        self.idle_since.retain(|id, _| workers.iter().any(|(other, _)| other == id));
        for (id, busy) in workers {
            let since = self.idle_since.entry(*id).or_insert(now);
            if *busy {
                *since = now;
            }
        }
        let limit = Duration::from_secs(span.idle);
        let long = |id: &u32| now - self.idle_since[id] >= limit;
        let spare = workers.iter().skip(span.least).map(|(id, _)| *id);
        let ids: Vec<u32> = spare.filter(|_| waiting == 0).filter(long).collect();
        ids.iter().for_each(|id| _ = self.idle_since.insert(*id, now));
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Adaptive = Adaptive { least: 2, most: 9, idle: 30 };

    /// A policy and the seconds that have gone by.
    struct Story {
        policy: Policy,
        began: Instant,
    }

    impl Story {
        fn new() -> Story {
            Story { policy: Policy::default(), began: Instant::now() }
        }

        fn at(
            &mut self,
            second: u64,
            waiting: usize,
            coming: usize,
            workers: &[(u32, bool)],
        ) -> Step {
            let now = self.began + Duration::from_secs(second);
            self.policy.step(&SPAN, &Seen { now, waiting, coming, workers })
        }
    }

    const TWO: [(u32, bool); 2] = [(2, true), (3, true)];
    const IDLE: [(u32, bool); 4] = [(2, false), (3, false), (4, false), (5, false)];

    #[test]
    fn it_grows_when_calls_wait_and_not_before_the_last_have_come() {
        let mut story = Story::new();
        assert_eq!(story.at(0, 7, 0, &TWO), Step::Rest, "they may be served soon");
        assert_eq!(story.at(1, 7, 0, &TWO), Step::Grow(2), "at most twice as many");
        assert_eq!(story.at(2, 7, 2, &TWO), Step::Rest, "two are coming");
        let four = [(2, true), (3, true), (4, true), (5, true)];
        assert_eq!(story.at(3, 3, 0, &four), Step::Rest);
        assert_eq!(story.at(4, 3, 0, &four), Step::Grow(3), "no more than wait");
        let seven: Vec<_> = (2..9).map(|id| (id, true)).collect();
        assert_eq!(story.at(5, 90, 0, &seven), Step::Rest);
        assert_eq!(story.at(6, 90, 0, &seven), Step::Grow(2), "no more than 9");
        let nine: Vec<_> = (2..11).map(|id| (id, true)).collect();
        assert_eq!(story.at(7, 90, 0, &nine), Step::Rest);
        assert_eq!(story.at(9, 90, 0, &nine), Step::Rest);
    }

    #[test]
    fn a_short_wait_is_none() {
        let mut story = Story::new();
        for second in (0..10).step_by(2) {
            assert_eq!(story.at(second, 5, 0, &TWO), Step::Rest);
            assert_eq!(story.at(second + 1, 0, 0, &TWO), Step::Rest);
        }
    }

    #[test]
    fn those_that_died_are_replaced_up_to_the_least_number() {
        let mut story = Story::new();
        assert_eq!(story.at(0, 0, 0, &TWO[..1]), Step::Grow(1));
        assert_eq!(story.at(0, 0, 0, &[]), Step::Grow(2));
    }

    #[test]
    fn the_idle_are_let_go_and_the_least_number_stays() {
        let mut story = Story::new();
        assert_eq!(story.at(0, 0, 0, &IDLE), Step::Rest);
        assert_eq!(story.at(29, 0, 0, &IDLE), Step::Rest);
        assert_eq!(story.at(30, 1, 0, &IDLE), Step::Rest, "something waits");
        assert_eq!(story.at(30, 0, 0, &IDLE), Step::LetGo(vec![4, 5]));
        assert_eq!(story.at(31, 0, 0, &IDLE), Step::Rest, "they hold something");
        assert_eq!(story.at(60, 0, 0, &IDLE), Step::LetGo(vec![4, 5]), "asked again");
    }

    #[test]
    fn whoever_has_something_to_do_is_not_idle() {
        let mut story = Story::new();
        let busy = [(2, false), (3, false), (4, false), (5, true)];
        assert_eq!(story.at(0, 0, 0, &IDLE), Step::Rest);
        assert_eq!(story.at(20, 0, 0, &busy), Step::Rest);
        assert_eq!(story.at(30, 0, 0, &IDLE), Step::LetGo(vec![4]));
        assert_eq!(story.at(50, 0, 0, &[IDLE[0], IDLE[1], IDLE[3]]), Step::LetGo(vec![5]));
    }

    #[test]
    fn what_fails_is_tried_again_ever_less_often() {
        let mut story = Story::new();
        let mut now = 0;
        for pause in [10, 20, 40, 80, 160, 320, 320] {
            assert_eq!(story.at(now, 0, 0, &[]), Step::Grow(2));
            story.policy.failed(story.began + Duration::from_secs(now));
            assert_eq!(story.at(now + pause - 1, 0, 0, &[]), Step::Rest);
            now += pause;
        }
        assert_eq!(story.at(now, 0, 0, &TWO), Step::Rest, "they have come");
        story.policy.failed(story.began + Duration::from_secs(now));
        assert_eq!(story.at(now + 10, 0, 0, &[]), Step::Grow(2));
    }
}
