//! Delays that grow.

use std::time::Duration;

/// Delays between tries: `first_delay`, then each `factor` times as long as the one before, up to
/// `max_delay`; each is made longer by a random part of up to `jitter` of it, so that many who failed
/// at once do not try again at once. An iterator of `n` [`Duration`]s; the fields are seconds.
///
/// ```
/// use parcell::distributed::ExponentialBackOff;
///
/// let delays = ExponentialBackOff { n: 4, jitter: 0.0, max_delay: 2.0, ..Default::default() };
/// let seconds: Vec<f64> = delays.map(|delay| delay.as_secs_f64()).collect();
/// assert_eq!(seconds, [0.05, 0.25, 1.25, 2.0]);
/// ```
///
/// # Source
/// `ExponentialBackOff(; n=1, first_delay=0.05, max_delay=10, factor=5, jitter=0.1)`, julia,
/// `base/error.jl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExponentialBackOff {
    /// How many delays there are; 1.
    pub n: usize,
    /// The first delay in seconds; 0.05.
    pub first_delay: f64,
    /// No delay is longer, in seconds and without jitter; 10.
    pub max_delay: f64,
    /// How much longer the next delay is; 5.
    pub factor: f64,
    /// The largest random part that is added to a delay; 0.1 of it.
    pub jitter: f64,
}

impl Default for ExponentialBackOff {
    fn default() -> ExponentialBackOff {
        ExponentialBackOff { n: 1, first_delay: 0.05, max_delay: 10.0, factor: 5.0, jitter: 0.1 }
    }
}

impl ExponentialBackOff {
    /// So many delays.
    #[must_use]
    pub fn new(n: usize) -> ExponentialBackOff {
        ExponentialBackOff { n, ..ExponentialBackOff::default() }
    }
}

impl Iterator for ExponentialBackOff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.n = self.n.checked_sub(1)?;
        let delay = self.first_delay.min(self.max_delay);
        self.first_delay = delay * self.factor;
        let random: f64 = rand::random();
        let seconds = delay * (1.0 + self.jitter * random);
        Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.n, Some(self.n))
    }
}
