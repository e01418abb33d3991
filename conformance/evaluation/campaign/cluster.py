"""The workers of a campaign, through `dask.distributed`: a cluster of processes on this machine, or an existing one.

Each worker has the description of the campaign from a plugin, which workers that join later get as well, and starts the
adapters' processes when it first needs them. A unit is one task. If a worker dies, the scheduler gives its unit to
another.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from dask import config
from distributed import Client, Future, LocalCluster, WorkerPlugin
from distributed.scheduler import KilledWorker
from threadpoolctl import threadpool_limits

from ...cases.plan import OptionError
from ...records.form.files import RecordError
from ...records.form.text import printable
from ...records.run import Run, Worker, describe_place, from_json, to_json
from .line import examine_unit, give_up
from .units import Unit

MOST_DEATHS = 10
"""A unit during which so many workers died is given up: it is likely the reason. Workers that are killed at random
every 30 s kill a unit of 5 s ten times in a row in one of 10⁷ units.
"""
CONNECT = 30.0
"""Seconds for a scheduler to answer."""
_ALONE = "127.0.0.1:0"
_REFRESH = 1.0
"""Seconds after which the workers are counted again."""


@dataclass(frozen=True)
class Done:
    """A unit that ended: its line, how long it took, and where. `refused` says why a worker does not take part."""

    unit: Unit
    line: bytes = b""
    seconds: float = 0.0
    worker: str = ""
    refused: str = ""


class _Place:
    """What a worker process knows of a campaign, and what runs it there, one for each thread."""

    def __init__(self, described: dict[str, Any]) -> None:
        self.differs = _differences(describe_place(), described["place"])
        self._run = from_json(described)
        self._notes = TemporaryDirectory(prefix="kterm-", ignore_cleanup_errors=True)
        self._workers: dict[int, Worker] = {}
        self.users = 0

    def examine(self, unit: Unit) -> bytes:
        thread = threading.get_ident()
        if thread not in self._workers:
            self._workers[thread] = Worker(self._run, Path(self._notes.name), str(thread))
        worker = self._workers[thread]
        adapter = next(one for one in self._run.adapters if one.name == unit.adapter)
        with threadpool_limits(1):
            return examine_unit(unit, lambda group: worker.ask(adapter, group), self._run.concerning(unit.adapter))

    def close(self) -> None:
        """End the adapters' processes."""
        for worker in self._workers.values():
            worker.close()
        self._workers = {}
        self._notes.cleanup()


_PLACES: dict[str, _Place] = {}
_JOINING = threading.Lock()


class CampaignPlugin(WorkerPlugin):
    """Tells each worker of a campaign what it is, and ends the adapters' processes with the worker."""

    def __init__(self, campaign: str, described: dict[str, Any]) -> None:
        self.name = f"kterm-{campaign}"
        self._campaign, self._described = campaign, described

    def setup(self, worker: object) -> None:
        """Prepare a worker. Several workers in one process share what they need."""
        with _JOINING:
            if self._campaign not in _PLACES:
                _PLACES[self._campaign] = _Place(self._described)
            _PLACES[self._campaign].users += 1

    def teardown(self, worker: object) -> None:
        """End what the worker started."""
        with _JOINING:
            place = _PLACES[self._campaign]
            place.users -= 1
            if not place.users:
                del _PLACES[self._campaign]
                place.close()


def _run_unit(campaign: str, unit: Unit) -> Done:
    """Run a unit in this process, which a plugin prepared."""
    place, where = _PLACES[campaign], f"{socket.gethostname()}:{os.getpid()}"
    if place.differs:
        return Done(unit, worker=where, refused=place.differs)
    started = time.monotonic()
    line = place.examine(unit)
    return Done(unit, line, time.monotonic() - started, where)


class Pool:
    """Units in work on the workers of a cluster."""

    def __init__(self, client: Client, run: Run, is_own: bool, most_deaths: int) -> None:
        self._client, self._is_own, self._most_deaths = client, is_own, most_deaths
        self._campaign = uuid4().hex
        self._futures: dict[str, tuple[Future, Unit]] = {}
        self._deaths: dict[int, int] = {}
        self._ended: Queue[str] = Queue()
        self._threads, self._counted = 0, -_REFRESH
        self._plugin = CampaignPlugin(self._campaign, to_json(run))
        client.register_plugin(self._plugin)

    def leave(self) -> None:
        """Have the workers of a scheduler that goes on end what they started."""
        with suppress(Exception):  # it may be gone
            self._client.unregister_worker_plugin(self._plugin.name)

    @property
    def running(self) -> int:
        """How many units are in work."""
        return len(self._futures)

    @property
    def workers(self) -> int:
        """How many units can be in work at once, now."""
        if time.monotonic() - self._counted >= _REFRESH:
            self._threads, self._counted = sum(_answered(self._client.nthreads()).values()), time.monotonic()
        return self._threads

    @property
    def has_room(self) -> bool:
        """Whether another unit may be handed in. Nobody needs a long queue; and where a scheduler hands queued units to
        workers ahead of time, those of a worker that dies would count a death that is not theirs.
        """
        return self.running < max(1, self.workers * (2 if self._is_own else 1))

    def submit(self, unit: Unit) -> None:
        """Hand in a unit."""
        key = f"kterm-{self._campaign}-{unit.number}-{self._deaths.get(unit.number, 0)}"
        future = self._client.submit(_run_unit, self._campaign, unit, key=key, pure=False)
        self._futures[key] = future, unit
        future.add_done_callback(lambda ended: self._ended.put(ended.key))

    def take(self, seconds: float) -> Done | None:
        """A unit that ended, or None if none does within so many seconds. A unit in which workers died again and again
        ends with an error in each case.

        Raises RecordError if the scheduler is lost.
        """
        try:
            key = self._ended.get(timeout=seconds)
        except Empty:
            if self._client.status not in ("running", "newly-created"):
                raise RecordError(_LOST) from None
            return None
        future, unit = self._futures.pop(key)
        try:
            return future.result()
        except KilledWorker as error:
            deaths = self._deaths.get(unit.number, 0) + error.allowed_failures + 1
            self._deaths[unit.number] = deaths
            if deaths >= self._most_deaths:
                died = "1 worker died while it" if deaths == 1 else f"{deaths} workers died while they"
                return Done(unit, give_up(unit, f"{died} ran this case or others of its unit"))
            self.submit(unit)
            return None
        except CancelledError:
            raise RecordError(_LOST) from None


def _answered(answer: Any) -> dict[str, Any]:
    """What a client answers: only a client in a coroutine, which is none of ours, gives a promise instead."""
    return dict(answer)


_LOST = "the scheduler of the campaign is gone; what the folder holds is kept, and the same command goes on"


@contextmanager
def open_pool(run: Run, workers: int, scheduler: str | None = None, most_deaths: int | None = None) -> Iterator[Pool]:
    """A pool of `workers` processes on this machine, none for 0, which all end with the block; or of the workers of the
    scheduler with this address. Nothing listens on an address that other machines can reach.

    Raises OptionError where the scheduler does not answer, or its workers cannot run this campaign.
    """
    most_deaths = most_deaths or MOST_DEATHS
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    settings = {
        # A unit that dies with its workers is given up after `most_deaths`; queued units stay with the scheduler.
        "distributed.scheduler.allowed-failures": most_deaths - 1,
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with config.set(settings):
        if scheduler is not None:
            with _existing(scheduler) as client:
                pool = _join(client, run, scheduler, most_deaths)
                try:
                    _require_same_place(client)
                    yield pool
                finally:
                    pool.leave()
            return
        cluster = _local(workers)
    try:
        with Client(cluster, set_as_default=False) as client:
            yield Pool(client, run, True, most_deaths)
    except BaseException:
        # What they are doing is lost in any case, and waiting for it may take as long as a unit.
        for nanny in cluster.workers.values():
            process = getattr(nanny, "process", None)
            if process is not None and process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, 9)
        raise
    finally:
        cluster.close()


def _local(workers: int) -> LocalCluster:
    common = {
        "threads_per_worker": 1,
        # Without an address, each would serve pages where other machines can read them.
        "dashboard_address": _ALONE,
        "worker_dashboard_address": _ALONE,
        "scheduler_kwargs": {"dashboard": False},
        "silence_logs": logging.CRITICAL,
        "memory_limit": 0,
    }
    if not workers:
        return LocalCluster(n_workers=1, processes=False, protocol="inproc://", **common)
    return LocalCluster(n_workers=workers, processes=True, host="127.0.0.1", **common)


@contextmanager
def _existing(scheduler: str) -> Iterator[Client]:
    try:
        client = Client(scheduler, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        said = printable(" ".join(str(error).split()))
        raise OptionError(
            f"scheduler {printable(scheduler)}: {said}; name one that runs, such as tcp://host:8786"
        ) from None
    with client:
        yield client


def _join(client: Client, run: Run, scheduler: str, most_deaths: int) -> Pool:
    """A pool of a scheduler's workers. Raises OptionError if they cannot take part."""
    try:
        return Pool(client, run, False, most_deaths)
    except Exception as error:
        # Whatever a worker raises arrives here.
        said = printable(" ".join(f"{type(error).__name__}: {error}".split()))
        raise OptionError(
            f"scheduler {printable(scheduler)}: a worker cannot run kterm ({said:.200}); install the same kterm there"
        ) from None


def _require_same_place(client: Client) -> None:
    """Raise OptionError if a worker has other versions than this machine."""
    here = describe_place()
    for worker, there in _answered(client.run(describe_place)).items():
        if differs := _differences(there, here):
            raise OptionError(f"worker {worker}: {printable(differs)}; workers must be like this machine")


def _differences(there: dict[str, str], here: dict[str, str]) -> str:
    return "; ".join(f"{name} is {there.get(name)}, not {due}" for name, due in here.items() if there.get(name) != due)
