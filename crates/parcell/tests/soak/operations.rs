//! The operations, of which each knows what must come out. One that fails says how; whether it was
//! allowed to is for others to judge.

use std::collections::BTreeSet;
use std::sync::Arc;

use parcell::distributed::{try_fetch_all, try_remotecall_fetch, wait_any};
use parcell::prelude::*;
use rand::prelude::*;
use serde::{Deserialize, Serialize};

use super::world::World;

/// What one thread of the driver holds.
pub(crate) struct Driver {
    pub(crate) world: Arc<World>,
    pub(crate) rng: StdRng,
    /// Whom the current operation has to do with.
    pub(crate) involved: Vec<usize>,
    /// Values that live for long, and what they are.
    pocket: Vec<(RemoteFuture<Vec<u64>>, u64, usize)>,
    function: Option<(Remote<(u64,), u64>, u64)>,
}

type Done = Result<(), RemoteError>;
pub(crate) type Operation = (&'static str, fn(&mut Driver) -> Done);

pub(crate) const OPERATIONS: &[Operation] = &[
    ("a small call", Driver::small_call),
    ("a small call", Driver::small_call),
    ("a large call", Driver::large_call),
    ("a function that is kept", Driver::kept_function),
    ("calls within calls", Driver::nested_calls),
    ("a call that panics", Driver::panicking_call),
    ("futures of futures", Driver::chain),
    ("a value for the pocket", Driver::fill_the_pocket),
    ("a value of the pocket", Driver::use_the_pocket),
    ("a value of the pocket", Driver::use_the_pocket),
    ("a future that is given its value", Driver::promise),
    ("several at once", Driver::several),
    ("a market", Driver::market),
    ("a channel in a channel", Driver::channel_in_channel),
    ("local values", Driver::local_values),
    ("pmap", Driver::map),
    ("distributed!", Driver::reduce),
    ("everywhere!", Driver::everywhere),
    ("remote_do", Driver::message),
    ("a pool", Driver::pool),
];

/// An array that can be told from others.
fn array(seed: u64, n: usize) -> Vec<u64> {
    (0..n as u64).map(|i| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(i)).collect()
}

fn check_array(values: &[u64], seed: u64, n: usize) {
    assert_eq!(values.len(), n, "an array of another length");
    assert!(values == array(seed, n), "an array of {n} for {seed} has other values");
}

fn sum(values: &[u64]) -> u64 {
    values.iter().fold(0, |sum, value| sum.wrapping_add(*value))
}

impl Driver {
    pub(crate) fn new(world: Arc<World>, rng: StdRng) -> Driver {
        Driver { world, rng, involved: Vec::new(), pocket: Vec::new(), function: None }
    }

    /// Any process, which then the operation has to do with.
    fn process(&mut self) -> usize {
        let id = self.world.process(&mut self.rng);
        self.involve(id)
    }

    fn worker(&mut self) -> usize {
        let id = self.world.worker(&mut self.rng);
        self.involve(id)
    }

    fn involve(&mut self, id: usize) -> usize {
        self.involved.push(id);
        self.world.also_does(&format!(" {id}"));
        id
    }

    fn small_call(&mut self) -> Done {
        let (a, b, id) = (self.rng.random::<u64>(), self.rng.random::<u64>(), self.process());
        let future = if self.rng.random() {
            spawn_at!(id, a.wrapping_mul(b))
        } else {
            remotecall(u64::wrapping_mul, id, (a, b))
        };
        if self.rng.random_ratio(1, 4) {
            return Ok(());
        }
        if self.rng.random() {
            future.wait_timeout(0.001);
        }
        assert_eq!(future.try_fetch()?, a.wrapping_mul(b));
        Ok(())
    }

    fn large_call(&mut self) -> Done {
        let (seed, id) = (self.rng.random(), self.process());
        let n = self.rng.random_range(1..150_000);
        let there = array(seed, n);
        let turned = spawn_at!(id, {
            let mut turned = there;
            turned.reverse();
            turned
        });
        let mut back = if self.rng.random() { turned.try_fetch()? } else { turned.try_join()? };
        back.reverse();
        check_array(&back, seed, n);
        Ok(())
    }

    fn kept_function(&mut self) -> Done {
        let id = self.process();
        if self.function.is_none() || self.rng.random_ratio(1, 10) {
            let table = array(self.rng.random(), 20_000);
            let total = sum(&table);
            self.function = Some((remote!(|x: u64| sum(&table).wrapping_add(x)), total));
        }
        let (function, total) = self.function.clone().expect("made just above");
        let x = self.rng.random();
        assert_eq!(try_remotecall_fetch(&function, id, (x,))?, total.wrapping_add(x));
        let other = self.process();
        if self.rng.random_ratio(1, 3) {
            let there = spawn_at!(other, try_remotecall_fetch(&function, id, (x,)));
            assert_eq!(there.try_fetch()??, total.wrapping_add(x));
        }
        Ok(())
    }

    fn nested_calls(&mut self) -> Done {
        let (a, b, c) = (self.process(), self.process(), self.process());
        let (seed, n) = (self.rng.random::<u64>(), self.rng.random_range(1..20_000));
        let call = spawn_at!(a, {
            let inner = spawn_at!(b, {
                let values = array(seed, n);
                spawn_at!(c, sum(&values)).try_fetch()
            });
            inner.try_fetch()
        });
        assert_eq!(call.try_fetch()???, sum(&array(seed, n)));
        Ok(())
    }

    fn panicking_call(&mut self) -> Done {
        let (id, n) = (self.process(), self.rng.random::<u32>());
        let call = spawn_at!(id, {
            assert!(n == 0 && myid() == 0, "as was to be expected: {n}");
        });
        match call.try_fetch() {
            Err(RemoteError::Panicked(panic)) if panic.message.contains("expected") => {
                let told = (panic.worker, panic.message);
                assert_eq!(told, (id, format!("as was to be expected: {n}")));
                Ok(())
            }
            other => other,
        }
    }

    fn chain(&mut self) -> Done {
        let (a, b, c) = (self.process(), self.process(), self.process());
        let (seed, n) = (self.rng.random::<u64>(), self.rng.random_range(1..5_000));
        let first = spawn_at!(a, array(seed, n));
        let second = spawn_at!(b, {
            sleep(0.001);
            first.try_fetch().map(|values| sum(&values))
        });
        let third =
            spawn_at!(c, (first.try_fetch().map(|values| values.len()), second.try_fetch()));
        if self.rng.random() {
            drop((first, second));
        }
        let (length, total) = third.try_fetch()?;
        assert_eq!(length?, n);
        assert_eq!(total??, sum(&array(seed, n)));
        Ok(())
    }

    fn fill_the_pocket(&mut self) -> Done {
        let (id, seed) = (self.process(), self.rng.random::<u64>());
        let future = spawn_at!(id, array(seed, 1000));
        self.pocket.push((future, seed, id));
        if self.pocket.len() > 30 {
            let at = self.rng.random_range(0..self.pocket.len());
            self.pocket.swap_remove(at);
        }
        Ok(())
    }

    fn use_the_pocket(&mut self) -> Done {
        if self.pocket.is_empty() {
            return Ok(());
        }
        let at = self.rng.random_range(0..self.pocket.len());
        let (future, seed, owner) = match self.rng.random() {
            true => self.pocket.swap_remove(at),
            false => self.pocket[at].clone(),
        };
        self.involve(owner);
        let id = self.process();
        match self.rng.random_range(0..4) {
            0 => check_array(&future.try_fetch()?, seed, 1000),
            1 => drop(spawn_at!(id, future.is_ready())),
            2 => {
                let seen = spawn_at!(id, future.try_fetch());
                drop(future);
                check_array(&seen.try_fetch()??, seed, 1000);
            }
            _ => {
                let back = spawn_at!(id, (future.clone(), future.is_ready()));
                drop(future);
                check_array(&back.try_fetch()?.0.try_fetch()?, seed, 1000);
            }
        }
        Ok(())
    }

    fn promise(&mut self) -> Done {
        let (owner, giver, reader) = (self.process(), self.process(), self.process());
        let value = self.rng.random::<u64>();
        let promise = RemoteFuture::<u64>::new(owner);
        let read = spawn_at!(reader, promise.try_fetch());
        let given = spawn_at!(giver, promise.try_put(value));
        if let Err(failed) = given.try_fetch().and_then(|given| given) {
            // Nobody else would; and whether that was the first is not known.
            let _ = promise.try_put(value);
            assert_eq!(read.try_fetch()??, value);
            return Err(failed);
        }
        assert_eq!(read.try_fetch()??, value);
        assert!(promise.try_put(1).is_err(), "a second value");
        Ok(())
    }

    fn several(&mut self) -> Done {
        let ids: Vec<usize> = (0..6).map(|_| self.process()).collect();
        let calls: Vec<_> = ids.iter().map(|&id| spawn_at!(id, id * 3)).collect();
        assert!(wait_any(&calls).is_some());
        match try_fetch_all(&calls) {
            Ok(values) => assert_eq!(values, ids.iter().map(|id| id * 3).collect::<Vec<_>>()),
            Err(failed) => std::panic::panic_any(failed),
        }
        Ok(())
    }

    fn channel_in_channel(&mut self) -> Done {
        let (a, b, c) = (self.process(), self.process(), self.process());
        let outer = RemoteChannel::new(1, a);
        let inner = RemoteChannel::new(1, b);
        outer.try_put(vec![inner.clone()])?;
        let put = spawn_at!(c, outer.try_take().and_then(|taken| taken[0].try_put(vec![7_u8; 50])));
        put.try_fetch()??;
        assert_eq!(inner.try_take()?, [7; 50]);
        outer.try_put(vec![inner])
    }

    fn local_values(&mut self) -> Done {
        let ids: BTreeSet<usize> = (0..3).map(|_| self.process()).collect();
        let ids: Vec<usize> = ids.into_iter().collect();
        let local = WorkerLocal::new_on(&ids, || 0_u64);
        for id in ids {
            let calls: Vec<_> =
                (0..4).map(|_| spawn_at!(id, local.with_mut(|n| *n += 1))).collect();
            calls.iter().try_for_each(RemoteFuture::try_fetch)?;
            assert_eq!(spawn_at!(id, local.with(|n| *n)).try_fetch()?, 4);
        }
        Ok(())
    }

    /// With enough further tries the death of workers does not matter.
    fn map(&mut self) -> Done {
        let (n, factor) = (self.rng.random_range(0..400_u64), self.rng.random::<u64>());
        let slow = self.rng.random_ratio(1, 4);
        let function = remote!(|x: u64| {
            if slow {
                sleep(0.0005);
            }
            x.wrapping_mul(factor)
        });
        let before = workers();
        let map = pmap(function, 0..n).retries(100).ordered(self.rng.random());
        let map = if self.rng.random() { map.batch_size(7) } else { map };
        let mut values = match map.try_collect() {
            Err(RemoteError::ProcessExited { worker, why }) => {
                let now = self.world.live();
                panic!(
                    "on workers {before:?}, now {now:?}, in spite of further tries: {worker}, {why}"
                )
            }
            other => other?.to_vec(),
        };
        let mut right: Vec<u64> = (0..n).map(|x| x.wrapping_mul(factor)).collect();
        values.sort_unstable();
        right.sort_unstable();
        assert_eq!(values, right);
        Ok(())
    }

    fn reduce(&mut self) -> Done {
        let (n, factor) =
            (self.rng.random_range(1..10_000_u64), self.rng.random_range(0..1000_u64));
        let total = if self.rng.random() {
            distributed!(+, for i in 0..n { i * factor })
        } else {
            distributed!(+, schedule = Schedule::Dynamic, chunk = 100, for i in 0..n { i * factor })
        };
        assert_eq!(total, n * (n - 1) / 2 * factor);
        Ok(())
    }

    fn everywhere(&mut self) -> Done {
        let mut ids: Vec<usize> = (0..3).map(|_| self.process()).collect();
        ids.sort_unstable();
        ids.dedup();
        let n = self.rng.random::<u32>() as usize;
        let values = everywhere!(&ids, myid() + n);
        assert_eq!(values, ids.iter().map(|id| id + n).collect::<Vec<_>>());
        Ok(())
    }

    fn message(&mut self) -> Done {
        let (id, value) = (self.worker(), self.rng.random::<u64>());
        let answer = RemoteChannel::<u64>::new(1, 1);
        let tell = remote!(|x: u64| answer.put(x));
        remote_do(&tell, id, (value,));
        drop(tell);
        let interrupted =
            |driver: &Driver| driver.world.excuses(&RemoteError::Interrupted { worker: id }, &[]);
        loop {
            match answer.take_timeout(0.5) {
                Ok(came) => assert_eq!(came, value),
                Err(RemoteError::TimedOut { .. })
                    if self.world.is_doomed(id) || interrupted(self) => {}
                Err(RemoteError::TimedOut { .. }) => continue,
                Err(other) => return Err(other),
            }
            return Ok(());
        }
    }

    fn pool(&mut self) -> Done {
        let ids = [self.worker(), self.worker()];
        let pool = WorkerPool::new(&ids);
        let x = self.rng.random::<u64>();
        let calls: Vec<_> = (0..4).map(|_| spawn_at!(&pool, x ^ 1)).collect();
        calls.iter().try_for_each(|call| call.try_fetch().map(|value| assert_eq!(value, x ^ 1)))?;
        assert_eq!(spawn_at!(any, x ^ 2).try_fetch()?, x ^ 2);
        Ok(())
    }
}

/// What goes through the channel of a market.
#[derive(Clone, Serialize, Deserialize)]
struct Parcel {
    from: usize,
    number: u64,
    /// A value elsewhere that is the number.
    future: Option<RemoteFuture<u64>>,
    bulk: Vec<u64>,
}

/// Where somebody puts what.
#[derive(Clone, Serialize, Deserialize)]
struct Stand {
    channel: RemoteChannel<Parcel>,
    from: usize,
    parcels: u64,
    bulk: usize,
    /// Where futures that go along are computed.
    futures: Option<usize>,
    hurried: bool,
}

/// How many were put for certain, and why no more.
fn put_all(stand: Stand) -> (u64, Option<RemoteError>) {
    for number in 0..stand.parcels {
        let parcel = Parcel {
            from: stand.from,
            number,
            future: stand.futures.map(|id| spawn_at!(id, number)),
            bulk: array(number, stand.bulk),
        };
        let put = loop {
            match stand.hurried {
                false => break stand.channel.try_put(parcel),
                true => match stand.channel.put_timeout(parcel.clone(), 0.002) {
                    Err(RemoteError::TimedOut { .. }) => {}
                    put => break put,
                },
            }
        };
        if let Err(why) = put {
            return (number, Some(why));
        }
    }
    (stand.parcels, None)
}

/// What was taken: who had put it, its number, and what its future failed with.
type Taken = Vec<(usize, u64, Option<RemoteError>)>;

/// Takes until nothing will come any more.
fn take_all(channel: RemoteChannel<Parcel>, hurried: bool, bulk: usize) -> (Taken, RemoteError) {
    let mut taken = Taken::new();
    loop {
        let parcel = if hurried { channel.take_timeout(0.002) } else { channel.try_take() };
        let parcel = match parcel {
            Ok(parcel) => parcel,
            Err(RemoteError::TimedOut { .. }) => continue,
            Err(why) => return (taken, why),
        };
        check_array(&parcel.bulk, parcel.number, bulk);
        let failed = parcel.future.and_then(|future| match future.try_fetch() {
            Ok(value) => {
                assert_eq!(value, parcel.number, "the future in a parcel");
                None
            }
            Err(error) => Some(error),
        });
        taken.push((parcel.from, parcel.number, failed));
    }
}

/// What one who put came to.
type Put = Result<(u64, Option<RemoteError>), RemoteError>;

impl Driver {
    /// Several put and several take until the channel is closed.
    fn market(&mut self) -> Done {
        let owner = self.process();
        let channel = match self.rng.random_range(0..6) {
            5 => RemoteChannel::unbounded(owner),
            capacity => RemoteChannel::new(capacity, owner),
        };
        let bulk = if self.rng.random_ratio(1, 5) { 20_000 } else { self.rng.random_range(0..9) };
        let parcels = if bulk > 9 { 5 } else { self.rng.random_range(0..60) };
        let mut putters = Vec::new();
        for from in 0..self.rng.random_range(1..4) {
            let futures = self.rng.random_ratio(1, 6).then(|| self.process());
            let hurried = self.rng.random_ratio(1, 3);
            let channel = channel.clone();
            let stand = Stand { channel, from, parcels, bulk, futures, hurried };
            putters.push(remotecall(put_all, self.process(), (stand,)));
        }
        let mut takers = Vec::new();
        for _ in 0..self.rng.random_range(0..3) {
            let hurried = self.rng.random_ratio(1, 3);
            takers.push(remotecall(take_all, self.process(), (channel.clone(), hurried, bulk)));
        }
        let early = self.rng.random_ratio(1, 5);
        let (own, why) = std::thread::scope(|scope| {
            scope.spawn(|| {
                if early {
                    sleep(0.005);
                    channel.close();
                }
                putters.iter().for_each(RemoteFuture::wait);
                channel.close();
            });
            take_all(channel.clone(), early, bulk)
        });
        let put = putters.iter().map(RemoteFuture::try_fetch).collect();
        let taken = takers.iter().map(RemoteFuture::try_fetch).collect();
        self.settle(parcels, put, taken, own)?;
        if matches!(why, RemoteError::Closed { .. }) { Ok(()) } else { Err(why) }
    }

    /// Each value that was put was taken once, or was lost with somebody.
    fn settle(
        &self,
        parcels: u64,
        put: Vec<Put>,
        taken: Vec<Result<(Taken, RemoteError), RemoteError>>,
        own: Taken,
    ) -> Done {
        let closed = |why: &RemoteError| matches!(why, RemoteError::Closed { .. });
        let nothing_lost =
            taken.iter().all(|taken| taken.as_ref().is_ok_and(|(_, why)| closed(why)));
        let all = taken.iter().flatten().flat_map(|(taken, _)| taken).chain(&own);
        let mut seen = vec![BTreeSet::new(); put.len()];
        for (from, number, failed) in all {
            assert!(seen[*from].insert(*number), "parcel {number} of {from} was taken twice");
            if let Some(error) = failed {
                assert!(self.world.excuses(error, &self.involved), "a future in a parcel: {error}");
            }
        }
        let channel_lives = !self.world.is_doomed(self.involved[0]);
        for (seen, put) in seen.iter().zip(&put) {
            let numbers: Vec<u64> = seen.iter().copied().collect();
            // Whoever failed may have put one more than it knew.
            let most = put.as_ref().map_or(parcels, |(n, why)| match why {
                Some(why) if !closed(why) => (n + 1).min(parcels),
                _ => *n,
            });
            let known = put.as_ref().map_or(0, |(n, _)| *n);
            if nothing_lost && channel_lives {
                let without_gaps: Vec<u64> = (0..numbers.len() as u64).collect();
                assert_eq!(numbers, without_gaps, "parcels are missing; known {known}");
                assert!(numbers.len() as u64 >= known, "{known} were put, {} taken", numbers.len());
            }
            assert!(numbers.last().is_none_or(|last| *last < most), "{numbers:?} of {most}");
        }
        taken.into_iter().try_for_each(|taken| taken.map(drop))?;
        put.into_iter().try_for_each(|put| put.map(drop))
    }
}
