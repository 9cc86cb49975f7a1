"""Builds several images side by side: each stage once and after its parent, in a process of its own."""

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
    """The stages of an image that must be built: from its end down to the first that the cache has."""
    wanted: Stage | None = image
    while wanted and not stage.is_built(wanted):
        yield wanted
        wanted = wanted.parent


def build(images: Sequence[Stage], at_once: int) -> list[Stage]:
    """Builds what the cache lacks, at most so many stages at once; gives the images that could not be had.

    A stage that fails says why, and what doesn't stand on it is built all the same. When we are interrupted,
    so are the builds under way, and they clean up before this raises.
    """
    todo = {each.file_name: each for image in images for each in missing(image)}
    order = TopologicalSorter(
        {
            name: [each.parent.file_name]
            for name, each in todo.items()
            if each.parent and each.parent.file_name in todo
        }
    )
    for name in todo:
        order.add(name)
    order.prepare()
    ready, running = deque(order.get_ready()), dict[BaseProcess, str]()
    if len(todo) > 1:
        progress.say(f"{len(todo)} stages to build, at most {at_once} at a time")
    progress.is_alone = min(at_once, len(images)) == 1
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
    return [image for image in images if not stage.is_built(image)]


def _start(wanted: Stage) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=_work, args=(wanted, os.getpid()))
    process.start()
    return process


def _ended(running: dict[BaseProcess, str]) -> list[BaseProcess]:
    """Waits until some process has ended; gives those."""
    ended = wait([process.sentinel for process in running])
    found = [process for process in running if process.sentinel in ended]
    for process in found:
        process.join()
    return found


def _work(wanted: Stage, parent: int) -> None:
    """Builds one stage; ends with exit code 1, and a sentence on stderr, if it can't be."""
    # Ctrl-C reaches all of us, but it is the parent that ends us; and we end with it, whatever ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    try:
        stage.ensure(wanted)
    except BuildError as error:
        progress.say(str(error))
        sys.exit(1)
