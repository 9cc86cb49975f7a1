"""What `spark.compat` does with the parts of PySpark. A test in the image checks that they exist.

See tests/cluster/product/test_spark.py: PySpark is too large for the tools' environment.
"""

from __future__ import annotations

import contextlib
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from flatirons.parallel.spark import compat


class FakeContext:
    """PySpark's SparkContext, as far as it is used."""

    _active_spark_context: Any = None
    _gateway: Any = None
    _jvm: Any = None


class FakeConf:
    def __init__(self, loadDefaults: bool) -> None:
        self.values: dict[str, str] = {}
        assert not loadDefaults

    def set(self, name: str, text: str) -> FakeConf:
        self.values[name] = text
        return self


class Java:
    """A gateway with its process, which notes in which order they end."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.proc = SimpleNamespace(
            stdin=SimpleNamespace(close=lambda: self.steps.append("stdin")),
            wait=lambda: self.steps.append("wait"),
        )

    def shutdown(self) -> None:
        self.steps.append("shutdown")


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The settings and the address of the pages with which Java is launched, in a fake PySpark."""
    launched: list[dict[str, str]] = []

    def launch_gateway(conf: FakeConf) -> Java:
        launched.append({**conf.values, "pages": os.environ["SPARK_LOCAL_IP"]})
        return Java()

    pyspark, gateway = ModuleType("pyspark"), ModuleType("pyspark.java_gateway")
    vars(pyspark).update(SparkContext=FakeContext, SparkConf=FakeConf)
    vars(gateway)["launch_gateway"] = launch_gateway
    monkeypatch.setitem(sys.modules, "pyspark", pyspark)
    monkeypatch.setitem(sys.modules, "pyspark.java_gateway", gateway)
    for name in ("_gateway", "_jvm", "_active_spark_context"):
        monkeypatch.setattr(FakeContext, name, None)
    return launched


@pytest.mark.parametrize("before", [None, "10.0.0.7"])
def test_java_starts_with_its_memory_only_and_its_pages_on_loopback(
    launches: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("SPARK_LOCAL_IP", raising=False)
    if before:
        monkeypatch.setenv("SPARK_LOCAL_IP", before)
    compat.launch_java(1024)
    assert launches == [{"spark.driver.memory": "1024m", "pages": "127.0.0.1"}]
    assert os.environ.get("SPARK_LOCAL_IP") == before


def test_java_that_an_earlier_session_left_is_ended_before_another_starts(launches: list[Any]) -> None:
    left = FakeContext._gateway = Java()
    assert compat.launch_java(512) is not left
    assert left.steps == ["shutdown", "stdin", "wait"]
    assert FakeContext._gateway is None and FakeContext._jvm is None


def test_ending_another_java_leaves_pysparks_alone(launches: list[Any]) -> None:
    current = FakeContext._gateway = Java()
    compat.end_java(Java())
    assert FakeContext._gateway is current and current.steps == []


def test_there_is_a_session_while_pyspark_has_an_active_context(launches: list[Any]) -> None:
    assert not compat.has_session()
    FakeContext._active_spark_context = object()
    assert compat.has_session()


def test_stopping_a_session_also_ends_what_belongs_to_it_even_if_the_stop_fails() -> None:
    steps: list[str] = []

    def stop() -> None:
        steps.append("stop")
        raise RuntimeError("Java is gone")

    session, undo = SimpleNamespace(stop=stop), contextlib.ExitStack()
    undo.callback(steps.append, "cluster")
    compat.end_with(session, undo)
    with pytest.raises(RuntimeError):
        session.stop()
    assert steps == ["stop", "cluster"]
