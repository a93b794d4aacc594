"""The same work in ipyparallel and dask, two workers each: `peers.py ipyparallel|dask BYTES`."""

import json
import sys
import time


def median(call, times: int) -> float:
    """The median seconds of a call."""
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        spans.append(time.perf_counter() - start)
    return sorted(spans)[times // 2]


def one():
    return 1


def same(x):
    return x


def array(size):
    import numpy

    return numpy.full(size // 8, 1.5)


def ipyparallel(size: int) -> dict:
    import ipyparallel as ipp

    with ipp.Cluster(n=2, log_level=40) as client:
        first, balanced = client[0], client.load_balanced_view()
        first.apply_sync(one)
        items = 1000
        start = time.perf_counter()
        assert len(balanced.map_sync(same, range(items))) == items
        rate = items / (time.perf_counter() - start)
        first.execute(f"import numpy; a = numpy.full({size // 8}, 1.5)", block=True)
        fetch = min(median(lambda: first.pull("a", block=True), 1) for _ in range(5))
        return {"round_trip": median(lambda: first.apply_sync(one), 200), "map": rate, "fetch": fetch}


def dask(size: int) -> dict:
    from distributed import Client

    client = Client(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    first = list(client.scheduler_info()["workers"])[0]

    def call():
        client.submit(one, workers=[first], pure=False).result()

    call()
    items = 2000
    start = time.perf_counter()
    assert len(client.gather(client.map(same, range(items)))) == items
    rate = items / (time.perf_counter() - start)
    held = client.submit(array, size, workers=[first], pure=False)
    held.exception()
    fetch = min(median(held.result, 1) for _ in range(5))
    result = {"round_trip": median(call, 200), "map": rate, "fetch": fetch}
    client.close()
    return result


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](int(sys.argv[2]))))
