"""Each environment with the real spawner: its kernels compute and draw, whatever the node's modules set.

Also one without Flatirons: a virtual environment in a directory that all nodes share, with nothing but
JupyterHub and JupyterLab; and in the full form (`--full`) such an image.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.coldstart import stock_image
from cluster.demo import software
from cluster.demo.visitor import Kernel, Output, Visitor
from tests.cluster.product.cells import blocks, start_server
from tests.conftest import RealCluster
from tests.full import IS_FULL
from tests.real_slurm import Slurm

pytestmark = [
    pytest.mark.cluster,
    # websockets of the demo's visitor, when a cell fails
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed WebSocketClientConnection:ResourceWarning"),
]

PYTHON = """
import numpy as np, matplotlib.pyplot as plt
slope, start = np.polyfit(range(50), 2 * np.arange(50) + 1, 1)
print(f"slope {slope:.3f}")
plt.plot(range(50), slope * np.arange(50) + start); plt.show()
"""
R = """
library(ggplot2)
fit <- lm(dist ~ speed, data = cars)
cat(sprintf("slope %.3f\\n", coef(fit)[["speed"]]))
ggplot(cars, aes(speed, dist)) + geom_point() + geom_smooth(method = "lm", formula = y ~ x)
"""
SCIENTIFIC = (
    PYTHON
    + """
import statsmodels.api as sm, sklearn, numba
print(sm.OLS(2 * np.arange(50), sm.add_constant(np.arange(50))).fit().params.round(3))
"""
)
# environment, kernel, what it runs, what it prints
CASES = [
    ("python", "python3", PYTHON, "slope 2.000"),
    ("r", "ir", R, "slope 3.932"),
    ("r", "python3", PYTHON, "slope 2.000"),
    *([("scientific", "python3", SCIENTIFIC, "slope 2.000")] if IS_FULL else []),
]
MARKS = {"r": [pytest.mark.images("r")], "pyspark": [pytest.mark.images("pyspark")]}
MARKS["scientific"] = [pytest.mark.images("scientific")]
# What a module of the node might set for the node's own software.
HOSTILE = """
cat > /etc/profile.d/flatirons-test.sh <<'END'
export PYTHONPATH=/nowhere/lib PYTHONHOME=/nowhere R_LIBS=/nowhere/r R_HOME=/nowhere/r
export SPARK_CONF_DIR=/nowhere/spark JAVA_HOME=/nowhere/java NODES_OWN_CHOICE=kept
END
"""


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, visitor: Visitor) -> Visitor:
    """Alice, whose server runs in the environment that is the parameter."""
    if visitor.has_server():
        visitor.stop()
    start_server(visitor, environment=request.param, cpus="2")
    return visitor


def in_environment(name: str, *values: str, kernel: str = "") -> object:
    return pytest.param(name, *values, marks=MARKS.get(name, ()), id="-".join(filter(None, [name, kernel])))


def size_of(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG file."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


def assert_shows(output: Output, text: str) -> None:
    assert text in output.printed
    [picture] = output.pictures
    assert min(size_of(picture)) > 200
    assert len(picture) > 4000, "there is nothing on it"


@pytest.mark.parametrize(
    ("server", "kernel", "code", "printed"),
    [in_environment(*case, kernel=case[1]) for case in CASES],
    indirect=["server"],
)
def test_a_kernel_of_each_language_computes_and_draws(
    server: Visitor, kernel: str, code: str, printed: str
) -> None:
    assert_shows(server.kernel(kernel).output(code), printed)


@pytest.mark.parametrize("server", [in_environment("r")], indirect=True)
def test_the_tutorial_of_r_works_as_written(server: Visitor) -> None:
    kernel = server.kernel("ir")
    shown = [kernel.output(block) for block in blocks("tutorial/r.md", "r")]
    assert_shows(next(output for output in shown if output.pictures), "")
    assert "shas0101" in "".join(output.printed for output in shown)


@pytest.mark.parametrize("server", [in_environment("pyspark")], indirect=True)
def test_spark_computes_and_draws_on_the_jobs_cores_as_in_its_tutorial(server: Visitor) -> None:
    kernel = server.kernel()
    begin, ask, _, draw, _ = (kernel.output(block) for block in blocks("tutorial/pyspark.md"))
    assert "local[2]" in begin.printed
    assert "|   0| 5.50060" in ask.printed
    assert_shows(draw, "")


# What the node's own modules set.


@pytest.fixture
def hostile_profile(cluster: RealCluster) -> Iterator[None]:
    """Every log-in on the first node sets variables for the node's own software."""
    done = cluster.exec("shas0101", ["sh", "-ec", HOSTILE])
    assert done.returncode == 0, done
    yield
    cluster.exec("shas0101", ["rm", "/etc/profile.d/flatirons-test.sh"])


def start_on_first_node(visitor: Visitor, **options: str) -> Kernel:
    if visitor.has_server():
        visitor.stop()
    start_server(visitor, environment="profile", **options)
    return visitor.kernel()


def test_variables_of_the_nodes_software_stay_out_of_the_container(
    visitor: Visitor, hostile_profile: None
) -> None:
    kernel = start_on_first_node(visitor)
    names = "PYTHONPATH PYTHONHOME R_LIBS R_HOME SPARK_CONF_DIR JAVA_HOME NODES_OWN_CHOICE MODULES_CHOICE"
    code = (
        f"import os, sys\nprint([(n, os.environ[n]) for n in '{names}'.split() if n in os.environ], sys.path)"
    )
    printed = kernel.run(code)
    assert "('NODES_OWN_CHOICE', 'kept')" in printed
    assert "('MODULES_CHOICE', 'kept')" in printed
    assert "('SPARK_CONF_DIR', '/site/spark')" in printed, "APPTAINERENV_ is meant for the container"
    assert "/nowhere" not in printed


def test_variables_that_the_site_sets_still_reach_the_server(visitor: Visitor, hostile_profile: None) -> None:
    kernel = start_on_first_node(visitor, python_path="/srv/site/lib")
    assert kernel.run(
        "import os, sys\nprint(os.environ['PYTHONPATH'], '/srv/site/lib' in sys.path)"
    ).split() == [
        "/srv/site/lib",
        "True",
    ]


def test_variables_of_the_nodes_software_do_not_reach_engines(
    visitor: Visitor, hostile_profile: None
) -> None:
    kernel = start_on_first_node(visitor)
    code = """
import ipyparallel as ipp
rc = ipp.Cluster(engines="flatirons", n=1).start_and_connect_sync()
print("seen", rc[:].apply_sync(lambda: __import__("os").environ.get("PYTHONPATH")))
rc.cluster.stop_cluster_sync()
"""
    assert "seen [None]" in kernel.run(code)


# Environments without Flatirons.


def shared(cluster: RealCluster) -> Path:
    """A directory of the machine that all nodes see as /home/software."""
    settings = cluster.demo.instance.settings()
    place = Path(settings.homes or Path(settings.store) / "homes") / "software"
    place.mkdir(exist_ok=True)
    return place


@pytest.fixture(scope="module")
def stranger(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    """/home/software/jupyter: a virtual environment of Debian's Python with JupyterHub and JupyterLab."""
    requirements = tmp_path_factory.mktemp("stranger") / "requirements.txt"
    requirements.write_text("jupyterhub\njupyterlab\n")
    made = software.hub_with(Path(cluster.demo.instance.settings().tree), requirements)
    place = shared(cluster) / "jupyter"
    if not place.exists():
        subprocess.run(["cp", "-a", "--reflink=auto", str(made), str(place)], check=True)


def facts(kernel: Kernel) -> str:
    return kernel.run(
        "import importlib.util, os, sys\n"
        "print(sys.prefix, importlib.util.find_spec('flatirons'), os.environ['FLATIRONS_ENVIRONMENT'], 6 * 7)"
    ).strip()


def test_a_virtual_environment_without_flatirons_runs_servers(
    visitor: Visitor, stranger: None, slurm: Slurm
) -> None:
    if visitor.has_server():
        visitor.stop()
    start_server(visitor, environment="stranger")
    assert facts(visitor.kernel()) == "/home/software/jupyter None stranger 42"
    listed = slurm.ask("squeue", "-h", "-u", "alice", "-t", "RUNNING", "-o", "%i")
    assert re.fullmatch(r"\d+", listed)
    visitor.stop()
    assert not slurm.ask("squeue", "-h", "-u", "alice")


@pytest.mark.timeout(600)
@pytest.mark.skipif(not IS_FULL, reason="the image takes a minute to build: --full")
def test_an_image_without_flatirons_runs_servers(visitor: Visitor, cluster: RealCluster) -> None:
    place = shared(cluster) / "stock.sif"
    if not place.exists():
        subprocess.run(["cp", "--reflink=auto", str(stock_image()), str(place)], check=True)
    if visitor.has_server():
        visitor.stop()
    start_server(visitor, environment="stock")
    assert facts(visitor.kernel()) == "/opt/jupyter None stock 42"
