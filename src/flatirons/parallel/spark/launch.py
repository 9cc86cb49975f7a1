"""A SparkSession on its own standalone cluster: `spark = session(nodes=2)`.

The notebook's process is the driver. Its Java process has the session's settings, and with them the cluster's
secret, over its own connection and not in its argv (spark.compat).
"""

from __future__ import annotations

import contextlib
import html
import os
import sys
from collections.abc import Mapping
from typing import Any

from flatirons.errors import FlatironsError, OptionsRefused
from flatirons.parallel.login_environment import job_environment
from flatirons.parallel.options import EngineOptions, resolve
from flatirons.parallel.spark import compat
from flatirons.parallel.spark import job as spark_job
from flatirons.parallel.spark.cluster import SparkCluster

KEYWORDS = ("partition", "account", "qos", "reservation", "runtime", "cpus", "memory")


def session(
    nodes: int = 1, *, name: str = "notebook", conf: Mapping[str, Any] | None = None, **requested: Any
) -> Any:
    """A SparkSession: with one node in the notebook's own job, with more nodes on a separate cluster.

    `requested`, each optional: `cpus` and `memory` (MiB, or a text such as "4G") of each node, by default as
    much as the notebook has; `partition`, `account`, `qos`, `reservation` and `runtime` as for engines.
    `conf` holds Spark's own settings. Waits for as long as the job waits in the queue, and says why; an
    interrupt cancels the job. Raises TypeError for an unknown keyword, and OptionsRefused, SubmitRefused or
    another FlatironsError with a sentence that says what to do.
    """
    options = _parse(nodes, requested)
    own = spark_job.notebook_size(job_environment(os.environ), len(os.sched_getaffinity(0)))
    _refuse_second_session()
    spark_job.add_user_settings({}, conf or {})  # raises before a job is submitted
    made = _start(nodes, name, conf or {}, options, own)
    _show_link(made.sparkContext)
    return made


def _start(
    nodes: int, name: str, conf: Mapping[str, Any], options: EngineOptions, own: tuple[int, int]
) -> Any:
    """The session, which ends its Java process and its cluster with it. Leaves neither behind if it fails."""
    with contextlib.ExitStack() as undo:
        java = undo.enter_context(contextlib.ExitStack())
        if nodes == 1:
            settings = spark_job.local_settings(spark_job.local_size(options, own))
            gateway = _launch_java(own, java)
        else:
            cluster = _submit(nodes, options, own, undo)
            gateway = _launch_java(own, java)  # while the job starts
            settings = cluster.wait_for_settings()
        made = compat.make_session(name, spark_job.add_user_settings(settings, conf), gateway)
        compat.end_with(made, java.pop_all())
        compat.end_with(made.sparkContext, undo.pop_all())  # the session's stop() calls that of its context
    return made


def _parse(nodes: Any, requested: Mapping[str, Any]) -> EngineOptions:
    """The options of a session. Raises TypeError, OptionsRefused."""
    for name in requested:
        if name not in KEYWORDS:
            known = ", ".join(("nodes", "name", "conf", *KEYWORDS))
            raise TypeError(f"session() has no keyword {name!r}; it takes {known}.")
    refused = {}
    if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 1:
        refused["nodes"] = f"Give a whole number from 1 up, not {nodes!r}."
    try:
        options = EngineOptions.parse(requested)
    except OptionsRefused as error:
        raise OptionsRefused({**refused, **error.messages}) from None
    if refused:
        raise OptionsRefused(refused)
    return options


def _refuse_second_session() -> None:
    try:
        is_taken = compat.has_session()
    except ImportError:
        raise FlatironsError(
            "This notebook's environment has no PySpark. Start a notebook in one that has, such as pyspark."
        ) from None
    if is_taken:
        raise FlatironsError("This notebook has a Spark session already. End it first: spark.stop().")


def _submit(
    nodes: int, options: EngineOptions, own: tuple[int, int], undo: contextlib.ExitStack
) -> SparkCluster:
    resolved = resolve(options, job_environment(os.environ))
    cluster = SparkCluster(nodes, spark_job.node_size(options, own), resolved)
    undo.callback(cluster.end)
    cluster.submit()
    return cluster


def _launch_java(own: tuple[int, int], undo: contextlib.ExitStack) -> Any:
    """The gateway to a new Java process for the driver, which `undo` ends.

    Java gets half of the notebook's memory; the rest is for the notebook itself.
    """
    heap_mib = max(spark_job.LEAST_HEAP_MIB, own[1] // 2 or 2 * spark_job.LEAST_HEAP_MIB)
    gateway = compat.launch_java(heap_mib)
    undo.callback(compat.end_java, gateway)
    return gateway


def _show_link(context: Any) -> None:
    """Shows the link to Spark's pages, which are behind the notebook server."""
    port = str(context.uiWebUrl or "").rpartition(":")[2]
    if not port:
        return
    base = f"{os.environ.get('JUPYTERHUB_SERVICE_PREFIX', '/')}proxy/{port}"
    compat.set_page_base(context, base)
    page = f"{base}/jobs/"
    text = f"Spark's pages: {page}"
    if "ipykernel" not in sys.modules:
        print(text)
        return
    from IPython.display import display

    link = f'<a href="{html.escape(page)}" target="_blank">Spark\'s pages</a>'
    display({"text/plain": text, "text/html": link}, raw=True)  # type: ignore[no-untyped-call]
