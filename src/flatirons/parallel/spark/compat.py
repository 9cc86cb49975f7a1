"""The only module that depends on private or undocumented parts of PySpark and Py4J.

`check` names the parts that are gone or have changed their shape in the installed version; a test calls it in
the image that has PySpark. `pyproject.toml` sets the upper bound. Each docstring says which change in PySpark
would make its object needless.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Mapping
from typing import Any

PROXY_BASE = "spark.ui.proxyBase"
"""Java's system property with the path of Spark's pages behind a proxy. Spark's own YARN mode sets it."""


def has_session() -> bool:
    """Whether this process has an active SparkContext. Raises ImportError where there is no PySpark.

    Needless if PySpark had a public function for this that starts nothing.
    """
    from pyspark import SparkContext

    return SparkContext._active_spark_context is not None


def launch_java(heap_mib: int) -> Any:
    """The Py4J gateway to a new Java process for the driver, started without the settings of a session.

    PySpark would pass these in the process's argv, which everybody on the node can read. A Java process that
    is left from an earlier session is ended first. Needless if PySpark had another way to pass settings, one
    of which is a secret.
    """
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    if SparkContext._gateway is not None:  # left by a session that somebody else made and stopped
        end_java(SparkContext._gateway)
    boot = SparkConf(loadDefaults=False).set("spark.driver.memory", f"{heap_mib}m")
    with _pages_on_loopback():
        return launch_gateway(boot)


@contextlib.contextmanager
def _pages_on_loopback() -> Any:
    """Spark's pages listen on loopback only, because they have no password. It reads this when it starts."""
    before = os.environ.get("SPARK_LOCAL_IP")
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SPARK_LOCAL_IP"]
        else:
            os.environ["SPARK_LOCAL_IP"] = before


def end_java(gateway: Any) -> None:
    """Ends a driver's Java process, and lets PySpark start another.

    This frees its memory and removes the secrets in it. Needless if `SparkContext.stop` could end Java.
    """
    from pyspark import SparkContext

    gateway.shutdown()
    if gateway.proc is not None:
        gateway.proc.stdin.close()  # Java exits when its standard input ends
        gateway.proc.wait()
    if SparkContext._gateway is gateway:
        SparkContext._gateway = SparkContext._jvm = None


def make_session(name: str, settings: Mapping[str, str], gateway: Any) -> Any:
    """A SparkSession in the Java process of this gateway. Needless if SparkSession.builder took a gateway."""
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    conf = SparkConf(loadDefaults=False).setAll(list(settings.items())).setAppName(name)
    return SparkSession(SparkContext(conf=conf, gateway=gateway))


def set_page_base(context: Any, path: str) -> None:
    """Makes the links in Spark's pages begin with a path. Needless with a setting for that."""
    context.setSystemProperty(PROXY_BASE, path)


def end_with(stoppable: Any, undo: contextlib.ExitStack) -> None:
    """Makes `stop` of a session or of a context also unwind `undo`.

    Needless if PySpark had a callback for the end of a session.
    """
    stop = stoppable.stop

    def stop_all() -> None:
        with undo:
            stop()

    stoppable.stop = stop_all


def check() -> list[str]:
    """What this module needs of the installed PySpark and doesn't find; starts no Java."""
    import pyspark.java_gateway
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    def parameters(of: Any) -> list[str]:
        return list(inspect.signature(of).parameters) if callable(of) else []

    launch = getattr(pyspark.java_gateway, "launch_gateway", None)
    code = inspect.getsource(launch) if launch else ""
    set_property = getattr(SparkContext, "setSystemProperty", None)
    found = {
        "SparkContext._active_spark_context": getattr(SparkContext, "_active_spark_context", "") is None,
        "SparkContext._gateway": getattr(SparkContext, "_gateway", "") is None,
        "SparkContext._jvm": getattr(SparkContext, "_jvm", "") is None,
        "launch_gateway(conf, ...)": parameters(launch)[:1] == ["conf"],
        "gateway.proc, with a pipe as stdin": "gateway.proc = proc" in code
        and 'popen_kwargs["stdin"] = PIPE' in code,
        "SparkContext(conf=, gateway=)": {"conf", "gateway"} <= {*parameters(SparkContext)},
        "SparkSession(sparkContext)": parameters(SparkSession)[:1] == ["sparkContext"],
        "SparkContext.setSystemProperty": parameters(set_property) == ["key", "value"],
        "SparkContext.uiWebUrl": isinstance(vars(SparkContext).get("uiWebUrl"), property),
    }
    return [name for name, is_there in found.items() if not is_there]
