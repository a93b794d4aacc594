"""The same operations in mpi4py with numpy on two ranks, and in dask.array on two workers.

    mpiexec -n 2 python peers.py mpi
    python peers.py dask
    python peers.py numpy

Prints the shortest seconds of each operation as JSON.
"""

import itertools
import json
import sys
import time

import numpy as np

N = 100_000_000


def best(run, times: int = 5) -> float:
    """The shortest seconds of several runs."""
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        spans.append(time.perf_counter() - start)
    return min(spans)


def mpi():
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    x = np.full(N // world.size, 1.5)
    y = np.full(N // world.size, 0.5)

    def together(run):
        def both():
            world.barrier()
            run()
            world.barrier()
        return best(both)

    def axpy():
        y[:] += 2.0 * x

    found = {
        "sum": together(lambda: world.allreduce(x.sum())),
        "axpy": together(axpy),
        "fill": together(lambda: x.fill(1.5)),
    }
    if world.rank == 0:
        print(json.dumps(found))


def dask():
    import dask.array as da
    from distributed import Client, wait

    # dask computes nothing anew that it keeps: each run takes another number. Its `full` writes one
    # number and no array, so it has no `fill` to measure.
    numbers = itertools.count(1)
    with Client(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as client:
        x = client.persist(da.full(N, 1.5, chunks=N // 4))
        y = client.persist(da.full(N, 0.5, chunks=N // 4))
        wait([x, y])
        found = {
            "sum": best(lambda: x.sum().compute()),
            "axpy": best(lambda: wait(client.persist(y + next(numbers) * x)), 3),
        }
        print(json.dumps(found))


def numpy():
    a, b = np.random.rand(2000, 2000), np.random.rand(2000, 2000)
    print(json.dumps({"matmul": best(lambda: a @ b)}))


if __name__ == "__main__":
    {"mpi": mpi, "dask": dask, "numpy": numpy}[sys.argv[1]]()
