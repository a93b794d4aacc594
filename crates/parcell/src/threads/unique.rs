//! First occurrences: a slice without its repetitions, found by all threads.
//!
//! The threads sort the items into shards by their hash, each thread for its own pieces of the
//! slice. Then each shard is a problem of its own, with a hash table small enough for a core's
//! cache. What finds the first of equals is that shards go through the pieces in order.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use rayon::prelude::*;

use crate::interrupt;

/// Fewer items than this go through one hash table, on the calling thread.
const FEW: usize = 4096;
/// Items that are compared between two looks at the interrupt flag.
const BLOCK: usize = 1024;
/// A shard is meant to have not more items than this, so that its table fits a core's cache.
const SHARD: usize = 1 << 15;
/// More shards would be more places that a thread writes to in turn than its cache has ways for.
const MOST_SHARDS: usize = 256;
/// So many keys of a piece are remembered, to pass over repetitions at once.
const REMEMBERED: usize = 1 << 15;

/// A candidate for a first occurrence.
#[derive(Debug)]
struct Candidate<K> {
    hash: u64,
    index: usize,
    key: K,
}

impl<K: Eq> Candidate<K> {
    fn repeats(&self, other: &Self) -> bool {
        self.hash == other.hash && self.key == other.key
    }
}

/// The items whose key no item before them has, in order.
pub(super) fn unique_by_key<'a, T, K>(items: &'a [T], key: impl Fn(&'a T) -> K + Sync) -> Vec<&'a T>
where
    T: Sync,
    K: Hash + Eq + Send + Sync,
{
    interrupt::check();
    let hasher = DefaultHashBuilder::default();
    let candidates = |first: usize, piece: &'a [T]| {
        let (key, hasher) = (&key, &hasher);
        piece.iter().enumerate().map(move |(i, item)| {
            interrupt::check();
            let key = key(item);
            Candidate { hash: hasher.hash_one(&key), index: first + i, key }
        })
    };
    if items.len() < FEW {
        let all: Vec<_> = candidates(0, items).collect();
        let mut firsts = Vec::new();
        keep_firsts(all.iter(), all.len(), |index| firsts.push(&items[index]));
        return firsts;
    }
    let shards = (items.len() / SHARD).next_power_of_two().clamp(16, MOST_SHARDS);
    let length = items.len().div_ceil(4 * rayon::current_num_threads()).max(FEW);
    let pieces = items.par_chunks(length).enumerate();
    let sorted: Vec<Vec<Vec<_>>> =
        pieces.map(|(i, piece)| sort_out(candidates(i * length, piece), shards)).collect();
    let is_first: Vec<AtomicBool> = items.par_iter().map(|_| AtomicBool::new(false)).collect();
    (0..shards).into_par_iter().with_max_len(1).for_each(|shard| {
        let size = sorted.iter().map(|piece| piece[shard].len()).sum();
        let all = sorted.iter().flat_map(|piece| &piece[shard]);
        keep_firsts(all, size, |index| is_first[index].store(true, Ordering::Relaxed));
    });
    let with_marks = items.par_iter().zip(is_first);
    with_marks.filter_map(|(item, first)| first.into_inner().then_some(item)).collect()
}

/// Deals candidates to shards, in order, and leaves out those that repeat one of the first keys.
fn sort_out<K: Eq>(
    candidates: impl Iterator<Item = Candidate<K>>,
    shards: usize,
) -> Vec<Vec<Candidate<K>>> {
    let mut sorted: Vec<Vec<Candidate<K>>> = (0..shards).map(|_| Vec::new()).collect();
    let mut first_keys = FirstKeys::default();
    for candidate in candidates {
        // The bits that choose the shard are neither those of its table's buckets, the low ones,
        // nor those of the table's tags, the topmost.
        let shard = &mut sorted[(candidate.hash >> 40) as usize & (shards - 1)];
        if !first_keys.have(&candidate, shard) {
            shard.push(candidate);
        }
    }
    sorted
}

/// The first different keys of a piece: hash and place in the shard. Where most items are none of
/// them there are more different keys than are worth to be remembered, and all are forgotten.
#[derive(Debug, Default)]
struct FirstKeys {
    places: HashTable<(u64, usize)>,
    repeated: usize,
    given_up: bool,
}

impl FirstKeys {
    /// Whether the candidate repeats a key; if not, its key is remembered as the shard's next.
    fn have<K: Eq>(&mut self, candidate: &Candidate<K>, shard: &[Candidate<K>]) -> bool {
        if self.given_up {
            return false;
        }
        let hash = candidate.hash;
        let same =
            |&(other, place): &(u64, usize)| other == hash && shard[place].key == candidate.key;
        if self.places.find(hash, same).is_some() {
            self.repeated += 1;
            return true;
        }
        if self.places.len() < REMEMBERED {
            self.places.insert_unique(hash, (hash, shard.len()), |&(hash, _)| hash);
        } else if self.repeated < REMEMBERED {
            *self = FirstKeys { given_up: true, ..FirstKeys::default() };
        }
        false
    }
}

/// Calls `keep` with the index of each candidate that repeats none before it.
fn keep_firsts<'a, K: Eq + 'a>(
    candidates: impl Iterator<Item = &'a Candidate<K>>,
    size: usize,
    mut keep: impl FnMut(usize),
) {
    let mut seen: HashTable<&Candidate<K>> = HashTable::with_capacity(size);
    for (i, candidate) in candidates.enumerate() {
        if i % BLOCK == 0 {
            interrupt::check();
        }
        let entry = seen.entry(candidate.hash, |c| c.repeats(candidate), |c| c.hash);
        if let Entry::Vacant(vacant) = entry {
            vacant.insert(candidate);
            keep(candidate.index);
        }
    }
}
