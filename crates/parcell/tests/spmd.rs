//! Runs over real workers: messages and collectives beside serial answers, runs that overlap, deaths
//! and panics in the middle, and nothing left at the end.

mod common;

use common::{Check, start_workers};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use parcell::distributed::{RemoteFunction, init};
use parcell::interrupt::{self, Interrupted};
use parcell::ndarray::Array2;
use parcell::prelude::*;
use parcell::spmd::{SpmdError, open_rooms};

const WORKERS: usize = 4;

fn main() {
    init();
    without_workers();
    start_workers(WORKERS);
    let checks: &[Check] = &[
        ("who takes part", who_takes_part),
        ("a ring", a_ring),
        ("values in any order", values_in_any_order),
        ("from anybody", from_anybody),
        ("collectives of all sizes", collectives_of_all_sizes),
        ("consecutive collectives", consecutive_collectives),
        ("big arrays", big_arrays),
        ("handles in messages", handles_in_messages),
        ("types are checked", types_are_checked),
        ("wrong arguments", wrong_arguments),
        ("eight runs at once", eight_runs_at_once),
        ("a run in a run", a_run_in_a_run),
        ("several threads with tags", several_threads_with_tags),
        ("what nobody receives", what_nobody_receives),
        ("contexts", contexts),
        ("one value per process", one_value_per_process),
        ("a panic", a_panic),
        ("several panics", several_panics),
        ("a handle after the end", a_handle_after_the_end),
        ("an interrupt", an_interrupt),
        ("a death in a barrier", a_death_in_a_barrier),
        ("the starter dies", the_starter_dies),
    ];
    common::run(checks, open_runs);
}

/// The processes that wait for the end of a run.
fn open_runs() -> Vec<String> {
    let open = |id: usize| (id, remotecall_fetch(open_rooms, id, ()));
    let waiting = procs().into_iter().map(open).filter(|(_, rooms)| *rooms > 0);
    waiting.map(|(id, rooms)| format!("process {id}: {rooms} runs")).collect()
}

fn without_workers() {
    assert_eq!(spmd(|c: Spmd| (myid(), c.rank(), c.size())), [(1, 0, 1)]);
    let sums = spmd(|c: Spmd| {
        c.barrier();
        c.send_to(0, 5);
        c.all_reduce(c.recv_from::<i32>(0), |a, b| a + b)
    });
    assert_eq!(sums, [5]);
}

fn who_takes_part() {
    let here = |c: Spmd| (c.rank(), c.size(), myid());
    assert_eq!(spmd(here), [(0, 4, 2), (1, 4, 3), (2, 4, 4), (3, 4, 5)]);
    assert_eq!(Spmd::on(&[4, 1]).run(here), [(0, 2, 4), (1, 2, 1)]);
    let all = Spmd::on(&procs()).run(|c: Spmd| c.procs());
    assert!(all.iter().all(|these| *these == [1, 2, 3, 4, 5]));
    let factor = 3;
    assert_eq!(spmd(remote!(|c: Spmd| c.rank() * factor)), [0, 3, 6, 9]);
}

fn a_ring() {
    let rings = Spmd::on(&procs()).run(|c: Spmd| {
        let (next, last) = ((c.rank() + 1) % c.size(), (c.rank() + c.size() - 1) % c.size());
        let mut travelling = vec![c.rank()];
        for _ in 1..c.size() {
            c.send_to(next, travelling);
            travelling = c.recv_from(last);
            travelling.push(c.rank());
        }
        travelling
    });
    assert_eq!(rings[0], [1, 2, 3, 4, 0]);
}

fn values_in_any_order() {
    const ORDERS: [[u64; 3]; 6] =
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let got = Spmd::on(&[2, 3]).run(|c: Spmd| {
        let mut got = Vec::new();
        for sent in ORDERS {
            for received in ORDERS {
                if c.rank() == 0 {
                    sent.iter().for_each(|tag| c.tag(*tag).send_to(1, *tag));
                } else {
                    let take = |tag: &u64| c.tag(*tag).recv_from::<u64>(0);
                    got.push(received.iter().map(take).collect::<Vec<_>>() == received);
                }
            }
        }
        got
    });
    assert_eq!(got[1], [true; 36]);
    // Large values may be overtaken on the way, but not when they are received.
    let lengths = Spmd::on(&[2, 3]).run(|c: Spmd| {
        if c.rank() == 0 {
            (0..40).for_each(|i| c.send_to(1, vec![1.0; if i % 2 == 0 { 300_000 + i } else { i }]));
            return Vec::new();
        }
        (0..40).map(|_| c.recv_from::<Vec<f64>>(0).len()).collect()
    });
    assert!((0..40).all(|i| lengths[1][i] == if i % 2 == 0 { 300_000 + i } else { i }));
}

fn from_anybody() {
    let got = spmd(|c: Spmd| {
        if c.rank() > 0 {
            (0..10).for_each(|i| c.send_to(0, 10 * c.rank() + i));
            return Vec::new();
        }
        (0..30).map(|_| c.recv_from_any::<usize>()).collect()
    });
    for rank in 1..4 {
        let of_rank = got[0].iter().filter(|(from, _)| *from == rank).map(|(_, value)| *value);
        assert!(of_rank.eq((0..10).map(|i| 10 * rank + i)), "in order from each");
    }
}

fn collectives_of_all_sizes() {
    for size in 1..=5 {
        for root in 0..size {
            check_collectives(&procs()[..size], root);
        }
    }
}

fn check_collectives(processes: &[usize], root: usize) {
    let size = processes.len();
    let word = |rank: usize| format!("<{rank}>");
    let all: Vec<String> = (0..size).map(word).collect();
    let got = Spmd::on(processes).run(remote!(|c: Spmd| {
        let word = format!("<{}>", c.rank());
        c.barrier();
        let cast = c.bcast(word.clone(), root);
        let list = if c.rank() == root { (0..3 * c.size()).collect() } else { vec![] };
        let part = c.scatter(list, root);
        let gathered = c.gather(word.clone(), root);
        let everywhere = c.all_gather(word.clone());
        // Joining does not commute.
        let joined = c.reduce(word.clone(), |a, b| a + &b, root);
        (cast, part, gathered, everywhere, joined, c.all_reduce(word, |a, b| a + &b))
    }));
    for (rank, (cast, part, gathered, everywhere, joined, everywhere_joined)) in
        got.into_iter().enumerate()
    {
        assert_eq!((cast, part), (word(root), (3 * rank..3 * rank + 3).collect()));
        assert_eq!(gathered, (rank == root).then(|| all.clone()));
        assert_eq!(joined, (rank == root).then(|| all.concat()));
        assert_eq!((everywhere, everywhere_joined), (all.clone(), all.concat()));
    }
}

fn consecutive_collectives() {
    let sums = spmd(|c: Spmd| {
        (0..200)
            .map(|i| {
                let root = i % c.size();
                let sum = c.all_reduce(i + c.rank(), |a, b| a + b);
                if i % 7 == 0 {
                    c.barrier();
                }
                c.bcast(sum * (1 + c.rank()), root)
            })
            .sum::<usize>()
    });
    let sum: usize = (0..200).map(|i| (4 * i + 6) * (1 + i % 4)).sum();
    assert_eq!(sums, [sum; 4]);
}

fn big_arrays() {
    let got = spmd(|c: Spmd| {
        let mine = Array2::from_elem((500, 400), c.rank() as f64);
        let sum = c.all_reduce(mine.clone(), |a, b| a + b);
        c.send_to((c.rank() + 1) % c.size(), mine);
        let (from, theirs) = c.recv_from_any::<Array2<f64>>();
        let all = c.gather(theirs.sum(), 0);
        (sum == Array2::from_elem((500, 400), 6.0), theirs[[499, 399]] == from as f64, all)
    });
    assert!(got.iter().all(|(sum, theirs, _)| *sum && *theirs));
    assert_eq!(got[0].2, Some(vec![600_000.0, 0.0, 200_000.0, 400_000.0]));
}

fn handles_in_messages() {
    let got = spmd(|c: Spmd| {
        let mine = spawn_at!(myid(), 10 * myid());
        c.send_to((c.rank() + 1) % c.size(), mine);
        let (_, theirs) = c.recv_from_any::<RemoteFuture<usize>>();
        c.barrier();
        theirs.fetch()
    });
    assert_eq!(got, [50, 20, 30, 40]);
}

fn types_are_checked() {
    let told = Spmd::on(&[2, 3]).run(|c: Spmd| {
        c.send_to(1 - c.rank(), 1.5_f64);
        let wrong = c.try_recv_from::<i64>(1 - c.rank()).unwrap_err();
        (c.recv_from::<f64>(1 - c.rank()), wrong.to_string())
    });
    let told_first = "participant 1, process 3, sent `f64`, but `i64` was asked for";
    assert_eq!(told[0], (1.5, told_first.to_owned()));
    let crossed = Spmd::on(&[2, 3]).try_run(|c: Spmd| {
        if c.rank() == 0 {
            let _: i32 = c.bcast(1, 0);
        } else {
            c.barrier();
        }
        c.barrier();
    });
    let told = crossed.unwrap_err().to_string();
    assert!(told.contains("`barrier`") && told.contains("`bcast of i32`"), "{told}");
}

fn wrong_arguments() {
    let told = Spmd::on(&[2, 3]).run(|c: Spmd| {
        let rank = c.try_send_to(2, 0).unwrap_err();
        let parts = (c.rank() == 0).then(|| c.try_scatter(vec![0; 5], 0).unwrap_err());
        (rank == SpmdError::NoSuchRank { rank: 2, size: 2 }, parts)
    });
    assert!(told[0].0 && told[1].0);
    let parts = told[0].1.clone().expect("a result of the root");
    assert_eq!(parts, SpmdError::NotDivisible { len: 5, size: 2 });
    assert_eq!(parts.to_string(), "5 values cannot be cut into 2 equal parts; 4 would fit");
    let told = |processes: &[usize]| {
        Spmd::on(processes).try_run(|c: Spmd| c.rank()).unwrap_err().to_string()
    };
    assert!(told(&[2, 77]).contains("no process 77"));
    assert!(told(&[2, 2]).contains("named twice"));
    assert!(told(&[]).contains("at least one"));
    let context = Context::on(&[2, 3]);
    let run = Spmd::on(&[2, 4]).context(&context).try_run(|c: Spmd| c.rank());
    assert!(run.unwrap_err().to_string().contains("made for the processes [2, 3], not for 4"));
}

fn eight_runs_at_once() {
    let run = |k: usize| {
        let sums = spmd(remote!(|c: Spmd| {
            let (next, last) = ((c.rank() + 1) % c.size(), (c.rank() + c.size() - 1) % c.size());
            let mut value = 100 * k + c.rank();
            for _ in 0..20 {
                c.send_to(next, value);
                value = c.recv_from(last);
            }
            assert_eq!(value, 100 * k + c.rank(), "once around the ring, five times");
            c.all_reduce(value, |a, b| a + b)
        }));
        assert_eq!(sums, [400 * k + 6; 4]);
    };
    thread::scope(|scope| {
        let run = &run;
        (0..8).for_each(|k| drop(scope.spawn(move || run(k))));
    });
}

fn a_run_in_a_run() {
    let got = spmd(|c: Spmd| {
        let inner = spmd(|inner: Spmd| inner.all_reduce(inner.rank(), |a, b| a + b));
        c.all_reduce(inner.iter().sum::<usize>(), |a, b| a + b)
    });
    assert_eq!(got, [96; 4]);
}

fn several_threads_with_tags() {
    let got = spmd(|c: Spmd| {
        let tasks: Vec<Task<usize>> = (1..=3)
            .map(|tag| {
                let c = c.tag(tag);
                spawn(move || c.all_reduce(c.rank() * tag as usize, |a, b| a + b))
            })
            .collect();
        tasks.iter().map(Task::fetch).collect::<Vec<_>>()
    });
    assert!(got.iter().all(|sums| *sums == [6, 12, 18]));
}

fn what_nobody_receives() {
    spmd(|c: Spmd| {
        let mine = spawn_at!(myid(), vec![0_u8; 100_000]);
        for rank in 0..c.size() {
            c.send_to(rank, mine.clone());
            c.send_to(rank, vec![1.0; 100_000]);
        }
    });
}

fn contexts() {
    let all: Vec<Context> = (0..8).map(|_| Context::new()).collect();
    let run = |k: usize| {
        Spmd::with(&all[k]).run(remote!(|c: Spmd| {
            c.stored(
                "sum",
                || 0,
                |sum: &mut usize| {
                    *sum += k;
                    *sum
                },
            )
        }))
    };
    for round in 1..=2 {
        (0..8).for_each(|k| assert_eq!(run(k), [round * k; 4]));
    }
    let wrong = Spmd::with(&all[1])
        .run(|c: Spmd| c.try_stored("sum", || 0.0, |sum: &mut f64| *sum).unwrap_err().to_string());
    assert!(wrong[0].contains("`sum`") && wrong[0].contains("usize"), "{}", wrong[0]);
    all[1].close();
    all[1].close();
    let closed = Spmd::with(&all[1]).try_run(|c: Spmd| c.stored("n", || 0, |n: &mut i32| *n));
    assert_eq!(closed.as_ref().unwrap_err().errors.len(), 4);
    assert!(closed.unwrap_err().to_string().contains("context was closed"));
    let alone = || {
        spmd(|c: Spmd| {
            c.stored(
                "n",
                || 0,
                |n: &mut i32| {
                    *n += 1;
                    *n
                },
            )
        })
    };
    assert_eq!((alone(), alone()), (vec![1; 4], vec![1; 4]), "without a context nothing stays");
}

fn one_value_per_process() {
    let d = ddata(|| vec![myid()]);
    spmd(remote!(|c: Spmd| d.with_mut(|v| v.push(c.rank()))));
    assert_eq!(d.gather(), [[2, 0], [3, 1], [4, 2], [5, 3]]);
    assert_eq!((d.get(4), d.procs()), (vec![4, 2], workers()));
    let own = DData::on(&[1, 3], || String::from("a"));
    own.with_mut(|s| s.push('b'));
    assert_eq!(fetch_from!(3, own.gather()), ["ab", "a"]);
}

fn a_panic() {
    let failed = spmd_failures(|c: Spmd| {
        assert!(c.rank() != 2, "no luck");
        c.barrier();
    });
    assert_eq!(failed.len(), 1, "the others only follow: {failed:?}");
    assert!(failed[0].to_string().contains("On worker 4: no luck"), "{}", failed[0]);
    let told = RemoteChannel::new(10, 1);
    let run = Spmd::on(&workers()).try_run(remote!(|c: Spmd| {
        assert!(c.rank() != 2, "no luck");
        let waits = c.try_recv_from::<f64>(1).unwrap_err();
        if let SpmdError::Participant { rank, process, .. } = &waits {
            told.put((*rank, *process, waits.to_string()));
        }
    }));
    assert_eq!(run.unwrap_err().errors.len(), 1);
    for _ in 0..3 {
        let (rank, process, words) = told.take_timeout(10).unwrap();
        assert_eq!((rank, process), (2, 4));
        assert!(words.contains("participant 2") && words.contains("no luck"), "{words}");
    }
    // What was sent before is received all the same.
    let got = RemoteChannel::new(1, 1);
    let _ = Spmd::on(&[2, 3]).try_run(remote!(|c: Spmd| {
        if c.rank() == 0 {
            c.send_to(1, 5);
            let () = c.recv_from(1);
            panic!("later");
        }
        assert!(matches!(c.try_recv_from::<f64>(0), Err(SpmdError::WrongType { .. })));
        c.send_to(0, ());
        assert!(c.tag(1).try_recv_from::<f64>(0).is_err());
        got.put(c.recv_from::<i32>(0));
    }));
    assert_eq!(got.take_timeout(10).unwrap(), 5);
}

fn spmd_failures(function: impl RemoteFunction<(Spmd,), ()>) -> Vec<RemoteError> {
    let caught = catch_unwind(AssertUnwindSafe(|| spmd(function))).unwrap_err();
    match caught.downcast::<CompositeError>() {
        Ok(several) => several.errors,
        Err(one) => vec![*one.downcast::<RemoteError>().expect("an error of the run")],
    }
}

fn several_panics() {
    let failed =
        Spmd::on(&procs()).try_run(|c: Spmd| assert!(c.rank().is_multiple_of(2), "{}", c.rank()));
    let errors = failed.unwrap_err().errors;
    let workers: Vec<usize> = errors.iter().map(RemoteError::worker).collect();
    assert_eq!(workers, [2, 4]);
}

fn a_handle_after_the_end() {
    let kept = WorkerLocal::<Option<Spmd>>::new_on(&[2], || None);
    Spmd::on(&[2, 3]).run(remote!(|c: Spmd| if c.rank() == 0 {
        kept.with_mut(|kept| *kept = Some(c))
    }));
    let told = fetch_from!(2, {
        let c = kept.with_mut(Option::take).unwrap();
        (c.try_send_to(1, 0).unwrap_err().to_string(), c.try_barrier().unwrap_err().to_string())
    });
    assert!(told.0.contains("is over") && told.1.contains("is over"), "{told:?}");
}

fn an_interrupt() {
    let begun = RemoteChannel::new(10, 1);
    let waits = remote!(|c: Spmd| {
        begun.put(());
        c.recv_from::<f64>(0)
    });
    thread::scope(|scope| {
        let running = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| spmd(waits))));
        (0..4).for_each(|_| begun.take());
        interrupt::raise();
        let unwound = running.join().expect("the panic was caught").unwrap_err();
        interrupt::clear();
        assert!(unwound.is::<Interrupted>());
    });
}

fn a_death_in_a_barrier() {
    let doomed = addprocs(1)[0];
    let all = [2, doomed, 3];
    let told = RemoteChannel::new(10, 1);
    let died = Spmd::on(&all).try_run(remote!(|c: Spmd| {
        c.barrier();
        if c.rank() == 1 {
            std::process::abort();
        }
        let error = c.try_barrier().unwrap_err();
        told.put(error.to_string());
    }));
    let errors = died.unwrap_err().errors;
    assert!(
        matches!(&errors[..], [RemoteError::ProcessExited { worker, .. }] if *worker == doomed)
    );
    for _ in 0..2 {
        let words = told.take_timeout(10).unwrap();
        assert!(words.contains(&format!("participant 1 of the run, process {doomed}")), "{words}");
    }
    assert_eq!(Spmd::on(&[2, 3]).run(|c: Spmd| c.all_gather(myid())), [[2, 3]; 2], "others go on");
}

fn the_starter_dies() {
    let doomed = addprocs(1)[0];
    let told = RemoteChannel::new(10, 1);
    let waits = remote!(|c: Spmd| {
        let tells =
            c.try_send_to(1 - c.rank(), 'a').and_then(|()| c.try_recv_from::<char>(1 - c.rank()));
        told.put(tells.map(|_| String::new()).unwrap_or_else(|error| error.to_string()));
        let error = c.try_recv_from::<f64>(0).unwrap_err();
        told.put(error.to_string());
    });
    let started = spawn_at!(doomed, {
        drop(Spmd::on(&[2, 3]).run(waits));
    });
    assert_eq!(
        (told.take_timeout(10).unwrap(), told.take_timeout(10).unwrap()),
        (String::new(), String::new())
    );
    drop(spawn_at!(
        doomed,
        if myid() > 1 {
            std::process::abort()
        }
    ));
    assert!(started.try_fetch().is_err());
    for _ in 0..2 {
        let words = told.take_timeout(10).unwrap();
        assert!(words.contains(&format!("process {doomed}, which started the run")), "{words}");
    }
}
