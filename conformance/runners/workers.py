"""What all commands that run adapters share: the value of `-n`, worker processes, and the default adapters."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from ...adapters.registry import AdapterError, is_installed
from ..cases.plan import OptionError
from .cache import use_cache_here
from .runner import NoAnswer

DEFAULT_ADAPTERS = ("torch", "jax")
"""What is checked where no adapter is named, as far as it is installed."""

MOST_WORKERS = 61 if sys.platform == "win32" else 1024  # Windows waits for at most 63 handles at a time
_POLL = 0.1  # seconds


def core_count() -> int:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parse_workers(text: str) -> int:
    """The number of worker processes that `-n TEXT` asks for: "auto" is one a core, and 0 is none, which means that the
    work is done in this process.

    Raises OptionError for anything else.
    """
    if text == "auto":
        return min(core_count(), MOST_WORKERS)
    if not (text.isascii() and text.isdecimal()):
        raise OptionError(f"-n {text}: give a number of workers, or auto")
    # The length is compared first: Python refuses to convert thousands of digits.
    if len(text.lstrip("0")) > len(str(MOST_WORKERS)) or int(text) > MOST_WORKERS:
        raise OptionError(f"-n {text}: give at most {MOST_WORKERS} workers")
    return int(text)


def choose_adapters(named: Sequence[str]) -> tuple[str, ...]:
    """The adapters named by the user, each once; without any, the default adapters that are installed.

    Raises AdapterError where none is named and no default adapter is installed.
    """
    chosen = tuple(dict.fromkeys(named)) or tuple(name for name in DEFAULT_ADAPTERS if is_installed(name))
    if not chosen:
        extras = " or ".join(f"pip install 'kterm[{name}]'" for name in DEFAULT_ADAPTERS)
        raise AdapterError(
            f"no adapter is named, and neither {' nor '.join(DEFAULT_ADAPTERS)} is installed; {extras}, or name an "
            "adapter (kterm adapters lists them)"
        )
    return chosen


Initializer = Callable[[Any], object]
"""A function of a module, called with one argument in each worker process before its first task."""


def make_executor(workers: int, initializer: Initializer | None = None, argument: Any = None) -> Executor:
    """An executor with this number of worker processes; for 0 it runs its tasks in a thread of this process, which
    starts at once.

    Ctrl-C at a terminal ends the worker processes without a traceback, and they end when this process ends.
    """
    if workers == 0:
        return ThreadPoolExecutor(1, initializer=_initialize, initargs=(initializer, argument))
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(initializer, argument),
    )


@contextmanager
def open_executor(workers: int, initializer: Initializer | None = None, argument: Any = None) -> Iterator[Executor]:
    """As `make_executor`. Where an exception leaves the block, Ctrl-C included, what is queued is cancelled and the
    worker processes are terminated, whatever they are doing.
    """
    others = set(multiprocessing.active_children())
    executor = make_executor(workers, initializer, argument)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    executor.shutdown()


def _start_worker(initializer: Initializer | None, argument: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A parent that is killed (SIGTERM, SIGKILL) cannot end its workers, which would then wait for tasks forever.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_cache_here()
    _initialize(initializer, argument)


def _initialize(initializer: Initializer | None, argument: Any) -> None:
    if initializer is not None:
        initializer(argument)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def wait_for(
    futures: Sequence[Future[Any]],
    done: Callable[[], None] | None = None,
    poll: Callable[[], None] | None = None,
) -> None:
    """Wait until all futures have ended. `done` is called once for each future that ends, and `poll` about ten times a
    second.

    Raises what the first future that fails raised, and NoAnswer where a worker process ended.
    """
    try:
        for future in as_completed(futures) if poll is None else _polled(futures, poll):
            future.result()
            if done is not None:
                done()
    except BrokenProcessPool:
        message = "a worker process ended while an adapter ran in it; kterm check says in which case"
        raise NoAnswer("died", message) from None


def _polled(futures: Sequence[Future[Any]], poll: Callable[[], None]) -> Iterator[Future[Any]]:
    left = set(futures)
    while left:
        finished, left = wait(left, timeout=_POLL, return_when="FIRST_EXCEPTION")
        yield from finished
        poll()
