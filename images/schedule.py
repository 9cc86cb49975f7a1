"""Builds several images in parallel: each stage once, after its parent, in its own process."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from . import progress, stage
from .errors import BuildError
from .recipe import Stage

PR_SET_PDEATHSIG = 1  # prctl(2)


def missing(image: Stage) -> Iterator[Stage]:
    """The stages of an image that must be built: from the last one down to the first in the cache."""
    wanted: Stage | None = image
    while wanted and not stage.is_built(wanted):
        yield wanted
        wanted = wanted.parent


def build(images: Sequence[Stage], at_once: int) -> list[Stage]:
    """Builds what the cache lacks, at most `at_once` stages in parallel; returns the images that failed.

    A stage that fails prints why; stages that don't depend on it are built nevertheless. An interrupt also
    interrupts the builds, and they clean up before this raises.
    """
    todo = {each.file_name: each for image in images for each in missing(image)}
    if len(todo) > 1:
        progress.say(f"{len(todo)} stages to build, at most {at_once} at a time")
    progress.is_alone = min(at_once, len(images)) == 1
    _build_in_order(todo, at_once)
    return [image for image in images if not stage.is_built(image)]


def _build_in_order(todo: dict[str, Stage], at_once: int) -> None:
    order = _parents_first(todo)
    ready, running = deque(order.get_ready()), dict[BaseProcess, str]()
    try:
        while ready or running:
            while ready and len(running) < at_once:
                name = ready.popleft()
                running[_start(todo[name])] = name
            for process in _ended(running):
                name = running.pop(process)
                if process.exitcode == 0:
                    order.done(name)
                    ready.extend(order.get_ready())
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.join()


def _parents_first(todo: dict[str, Stage]) -> "TopologicalSorter[str]":
    """The names of the stages in an order in which they can be built."""
    order: TopologicalSorter[str] = TopologicalSorter()
    for name, each in todo.items():
        parents = [each.parent.file_name] if each.parent and each.parent.file_name in todo else []
        order.add(name, *parents)
    order.prepare()
    return order


def _start(wanted: Stage) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=_work, args=(wanted, os.getpid()))
    process.start()
    return process


def _ended(running: dict[BaseProcess, str]) -> list[BaseProcess]:
    """Waits until at least one process has ended; returns those that have."""
    ended = wait([process.sentinel for process in running])
    found = [process for process in running if process.sentinel in ended]
    for process in found:
        process.join()
    return found


def _work(wanted: Stage, parent: int) -> None:
    """Builds one stage; ends with exit code 1 and a sentence on stderr if that fails."""
    # Ctrl-C reaches all processes, but the parent ends its children. They also end if the parent is killed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    try:
        stage.ensure(wanted)
    except BuildError as error:
        progress.say(str(error))
        sys.exit(1)
