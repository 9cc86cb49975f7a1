"""A set of engines as one job: the options of sbatch, and the script."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import FlatironsError, ImageError, OptionsRefused
from flatirons.parallel.container import login_lines, notebook_container
from flatirons.parallel.ipp.engines import (
    ControllerAddress,
    engine_argv,
    job_script,
    job_spec,
    parse_counts,
    place_inside,
    refuse_job_options,
    step_argv,
)
from flatirons.parallel.job_specs import open_log
from flatirons.parallel.liveness import LivenessPort
from flatirons.parallel.options import EngineOptions
from flatirons.slurm import argv
from flatirons.slurm.spelling import Spelling

GOLDEN = r"""#!/bin/bash
export HOME=~ PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin USER="$(id -un)"
export LOGNAME="$USER"
trap 'echo "/etc/profile ended this job script with exit code $?, so nothing was started." >&2
exit 78' EXIT
flatirons_options=$(set +o) flatirons_directory=$PWD
[ ! -r /etc/profile ] || . /etc/profile
eval "$flatirons_options"
builtin cd -- "$flatirons_directory"
unset -v IFS flatirons_options flatirons_directory
trap - EXIT
unset SLURM_EXPORT_ENV SLURM_GET_USER_ENV SLURM_TIME_FORMAT
export FLATIRONS_ENGINES="$SLURM_TASKS_PER_NODE" SLURM_NTASKS="$SLURM_JOB_NUM_NODES" SLURM_NTASKS_PER_NODE=1
unset SLURM_NPROCS SLURM_TASKS_PER_NODE SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK SLURM_TRES_PER_TASK
unset SLURM_MEM_PER_CPU SLURM_MEM_PER_NODE SLURM_MEM_PER_GPU
set -e
timeout 30 bash -c 'if ! true <>"/dev/tcp/$1/$2"; then
    echo "Nothing listens at $1 port $2: the notebook has ended, or this node can'"'"'t reach it." >&2
    exit 1
fi' bash 10.0.0.7 40009
export 'GREETING=it'"'"'s "me" $HOME'
exec bash -c 'for _ in {1..300}; do
    if ! true 2>/dev/null <>"/dev/tcp/$1/$2"; then
        echo "Nothing listens at $1 port $2: the notebook has ended, or this node can'"'"'t reach it." >&2
        exit 1
    fi
    [ ! -s "$3" ] || break
    sleep 0.2
done
read -r key <"$3" || exit
trap '"'"''"'"' PIPE
for _ in {1..5}; do # while strangers keep the port busy, it may drop this connection as one of theirs
    exec 3<>"/dev/tcp/$1/$2" || exit
    ! printf '"'"'%s\n'"'"' "$key" 2>/dev/null >&3 || ! read -r -t 60 -u 3 answer 2>/dev/null || break
    sleep 1
done
if [ "$answer" != ok ]; then
    echo "The notebook at $1 port $2 doesn'"'"'t know this job: it has ended." >&2
    exit 1
fi
trap - PIPE
unset -v key answer
shift 3
(
    read -r -u 3 2>/dev/null
    echo "The notebook has ended, so its engines end." >&2
    scancel "$SLURM_JOB_ID"
) &
exec "$@" 3>&-' bash 10.0.0.7 40009 '/home/my key' srun --export=ALL --kill-on-bad-exit=0 --wait=0 --label \
--ntasks-per-node=1 --cpu-bind=none --mem=0 --no-kill python -m engine
""".replace("\\\n", "")


def test_the_script_is_one_step_with_a_task_for_each_node() -> None:
    script = job_script(
        8,
        EngineOptions(cpus=2),
        ["python", "-m", "engine"],
        environment={"GREETING": 'it\'s "me" $HOME'},
        controller=ControllerAddress("10.0.0.7", 40000, 40009, "/home/my key"),
    )
    assert script == GOLDEN


def test_an_impossible_name_of_a_variable_is_refused() -> None:
    with pytest.raises(OptionsRefused, match="x;y"):
        job_script(1, EngineOptions(), ["python"], environment={"x;y": "1"})


def run(script: str, folder: Path) -> tuple[int, str]:
    """The script's exit code and output; its srun writes its arguments to a file, separated by NUL."""
    srun = folder / "srun"
    srun.write_text('#!/bin/sh\nprintf "%s\\0" "$@" > "$OUT"\n')
    srun.chmod(0o755)
    # /etc/profile may reset PATH, so srun is named by its path
    script = script.replace("srun", str(srun), 1).replace('scancel "', f'{folder}/scancel "')
    env = {"OUT": str(folder / "out"), "PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "12"}
    with (folder / "log").open("w") as log:  # not a pipe, which processes in the background would hold open
        done = subprocess.run(
            ["bash", "-s"], input=script.encode(), env=env, stdout=log, stderr=log, timeout=20
        )
    return done.returncode, (folder / "log").read_text()


@pytest.mark.parametrize("word", ["a b", "'", '"', "$(touch x)", "`id`", "a\nb", "*", "", "\\", "ä€", "-n"])
def test_no_shell_reads_an_engines_arguments(word: str, tmp_path: Path) -> None:
    assert run(job_script(1, EngineOptions(), ["engine", word]), tmp_path) == (0, "")
    assert (tmp_path / "out").read_text().split("\0")[-3:-1] == ["engine", word]


def test_a_job_whose_notebook_has_gone_ends_before_any_engine(tmp_path: Path) -> None:
    gone = ControllerAddress("127.0.0.1", 1)
    status, printed = run(job_script(1, EngineOptions(), ["engine"], controller=gone), tmp_path)
    assert status == 1
    assert "Nothing listens at 127.0.0.1 port 1" in printed
    assert not (tmp_path / "out").exists()


def test_a_job_is_cancelled_when_its_controller_ends(tmp_path: Path) -> None:
    scancel = tmp_path / "scancel"
    scancel.write_text('#!/bin/sh\necho "$@" > "$OUT.cancelled"\n')
    scancel.chmod(0o755)
    with contextlib.closing(LivenessPort("127.0.0.1")) as controller:
        controller.write_key(tmp_path / "key")
        controller.start()
        where = ControllerAddress("127.0.0.1", 1, controller.port, str(tmp_path / "key"))
        # srun ends at once here, and so does its script: only the watch on the liveness port is left
        assert run(job_script(1, EngineOptions(), ["engine"], controller=where), tmp_path) == (0, "")
        assert not (tmp_path / "out.cancelled").exists()
    while not (tmp_path / "out.cancelled").exists():
        time.sleep(0.01)
    assert (tmp_path / "out.cancelled").read_text() == "12\n"


def test_nodes_are_filled_evenly() -> None:
    words = argv.sbatch(job_spec(8, EngineOptions(nodes=3)))
    assert {"--nodes=3", "--ntasks=8", "--ntasks-per-node=3"} <= set(words)


def test_there_are_never_more_nodes_than_engines() -> None:
    words = argv.sbatch(job_spec(1, EngineOptions(nodes=2)))
    assert {"--nodes=1", "--ntasks=1", "--ntasks-per-node=1"} <= set(words)


def test_slurm_places_the_engines_by_default() -> None:
    words = argv.sbatch(job_spec(8, EngineOptions()))
    assert "--ntasks=8" in words
    assert not [
        word for word in words if word.startswith(("--nodes", "--ntasks-per-node", "--mem", "--time"))
    ]


def test_with_a_maximum_for_each_node_slurm_chooses_the_number_of_nodes() -> None:
    words = argv.sbatch(job_spec(8, EngineOptions(engines_per_node=4)))
    assert "--ntasks-per-node=4" in words
    assert not [word for word in words if word.startswith("--nodes")]


def test_engines_that_cannot_fit_are_refused_before_they_are_submitted() -> None:
    with pytest.raises(OptionsRefused, match="8 engines don't fit on 2 nodes with at most 3"):
        job_spec(8, EngineOptions(nodes=2, engines_per_node=3))


@pytest.mark.parametrize("n", [0, -1])
def test_a_set_has_at_least_one_engine(n: int) -> None:
    with pytest.raises(OptionsRefused):
        job_spec(n, EngineOptions())


def test_memory_is_for_each_engine_whatever_its_cores() -> None:
    words = argv.sbatch(job_spec(2, EngineOptions(memory=1000, cpus=3)))
    assert "--mem-per-cpu=334M" in words
    assert "--cpus-per-task=3" in words


def test_memory_for_each_engine_is_put_as_the_cluster_takes_it() -> None:
    def words(memory: str, **more: int) -> set[str]:
        spelling = Spelling(memory=memory)
        spec = job_spec(6, EngineOptions(memory=1000, cpus=2, **more), spelling)
        return {word for word in argv.sbatch(spec, spelling) if word.startswith("--mem")}

    assert words("--mem-per-cpu") == {"--mem-per-cpu=500M"}
    assert words("none") == set()
    assert words("--mem", nodes=2) == {"--mem=3000M"}
    assert words("--mem", engines_per_node=2) == {"--mem=2000M"}
    with pytest.raises(OptionsRefused, match="whole nodes only"):
        words("--mem")


def test_a_step_asks_for_no_memory_where_the_cluster_admits_another_option_only() -> None:
    inside = step_argv("7", "set", [1], ["engine"], None, Spelling(memory="--mem-per-cpu"))
    assert not [word for word in inside if word.startswith("--mem")]
    script = job_script(
        2, EngineOptions(mpi="pmix", cpus=2), ["e"], spelling=Spelling(cpus=("--tres-per-task",))
    )
    assert "--tres-per-task=cpu=2" in script
    assert "--cpus-per-task" not in script


def test_a_percent_sign_in_the_logs_path_is_no_pattern() -> None:
    assert "--output=/home/a%%b/x.log" in argv.sbatch(job_spec(1, EngineOptions(), log="/home/a%b/x.log"))
    assert open_log("/home/a%b/x.log") == ""


def test_a_job_opens_a_log_itself_that_slurm_would_open_elsewhere(tmp_path: Path) -> None:
    log = tmp_path / "DOM\\ann smith's %j.log"
    assert "--output=/dev/null" in argv.sbatch(job_spec(1, EngineOptions(), log=str(log)))
    script = open_log(str(log)) + "echo out; echo err >&2"
    subprocess.run(["bash", "-c", script], check=True)
    assert log.read_text() == "out\nerr\n"


@pytest.mark.parametrize("where", [{"log": "/a\nb/x.log"}, {"folder": "/a\x1bb"}, {"folder": "/a\udce9b"}])
def test_a_path_that_slurm_cannot_take_is_named(where: dict[str, str]) -> None:
    with pytest.raises(FlatironsError, match=r"Slurm can't take the path .* Rename that folder"):
        job_spec(1, EngineOptions(), **where)


@given(st.integers(1, 500), st.integers(0, 20), st.integers(0, 20))
def test_the_requested_nodes_hold_all_engines(n: int, nodes: int, most: int) -> None:
    try:
        spec = job_spec(n, EngineOptions(nodes=nodes, engines_per_node=most))
    except OptionsRefused:
        assert nodes * most < n
        return
    per_node = spec.ntasks_per_node or n
    assert per_node <= n
    if most:
        assert per_node <= most
    if spec.nodes:
        assert per_node * spec.nodes >= n > per_node * (spec.nodes - 1) - spec.nodes


def test_engines_find_the_controller_by_file_and_no_key_is_in_their_argv() -> None:
    words = engine_argv(["python"], "/home/a/.ipython/profile_default", "123-ab")
    assert words[:3] == ["python", "--profile-dir=/home/a/.ipython/profile_default", "--cluster-id=123-ab"]
    assert not [word for word in words if "key" in word.lower()]


def test_the_container_is_the_notebooks_own() -> None:
    prefix = ["apptainer", "exec", "--bind", "/a:/b", "/srv/base.sif"]
    assert (
        notebook_container({"FLATIRONS_CONTAINER": json.dumps(prefix), "FLATIRONS_IMAGE": "/other.sif"})
        == prefix
    )


def test_an_empty_prefix_means_no_container() -> None:
    assert notebook_container({"FLATIRONS_CONTAINER": "[]", "FLATIRONS_IMAGE": ""}) == []


def test_an_image_alone_is_run_plainly() -> None:
    assert notebook_container({"FLATIRONS_IMAGE": "/srv/base.sif"}) == ["apptainer", "exec", "/srv/base.sif"]


def test_outside_of_a_notebook_there_is_no_container() -> None:
    assert notebook_container({}) == []


@pytest.mark.parametrize("environ", [{}, {"FLATIRONS_IMAGE": "/srv/base.sif"}])
def test_the_nodes_variables_for_its_own_software_stay_only_without_a_container(
    environ: dict[str, str],
) -> None:
    lines = login_lines(environ).partition("trap - EXIT\n")[2]  # after what sets them
    script = f"export PYTHONPATH=/node/lib\n{lines}echo ${{PYTHONPATH-none}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("none" if environ else "/node/lib")


@pytest.mark.parametrize("text", ["{", '"apptainer"', "[1]", "{}"])
def test_a_prefix_that_is_no_list_of_words_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="FLATIRONS_CONTAINER"):
        notebook_container({"FLATIRONS_CONTAINER": text})


def test_the_connection_file_says_where_the_controller_listens() -> None:
    known: dict[str, object] = {"interface": "tcp://10.0.0.7", "registration": 40000}
    assert ControllerAddress.parse(json.dumps(known)) == ("10.0.0.7", 40000, 0, "")
    known |= {"liveness": 40009, "liveness_key": "/home/key"}
    assert ControllerAddress.parse(json.dumps(known)) == ("10.0.0.7", 40000, 40009, "/home/key")


def test_a_controller_that_is_not_on_the_network_has_no_address() -> None:
    assert ControllerAddress.parse('{"interface": "ipc:///tmp/x", "registration": 1}') is None
    assert ControllerAddress.parse("") is None


def test_mpi_has_a_task_for_each_engine_and_ends_as_a_whole() -> None:
    options = EngineOptions(mpi="pmix", cpus=2)
    script = job_script(4, options, ["engine"])
    assert " --ntasks=4 --cpus-per-task=2 --mpi=pmix engine\n" in script
    assert "FLATIRONS_ENGINES" not in script
    assert "--no-kill" not in argv.sbatch(job_spec(4, options))


@pytest.mark.parametrize(("text", "wanted"), [("4(x2),3", [4, 4, 3]), ("1", [1]), ("2,0,5(x1)", [2, 0, 5])])
def test_counts_are_read_as_slurm_writes_them(text: str, wanted: list[int]) -> None:
    assert parse_counts(text) == wanted


@pytest.mark.parametrize("text", ["", "x", "4(x)", "4,,3", "-1"])
def test_other_texts_than_counts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="as Slurm writes them"):
        parse_counts(text)


JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_CPUS_PER_NODE": "4(x2),2", "SLURM_MEM_PER_NODE": "4000"}


@pytest.mark.parametrize(
    ("n", "options", "wanted"),
    [
        (5, EngineOptions(), [2, 2, 1]),
        (10, EngineOptions(), [4, 4, 2]),
        (4, EngineOptions(nodes=2), [2, 2]),
        (4, EngineOptions(cpus=2), [2, 1, 1]),
        (1, EngineOptions(), [1]),
        (3, EngineOptions(memory=3000), [1, 1, 1]),
    ],
)
def test_engines_inside_a_job_are_spread_evenly(n: int, options: EngineOptions, wanted: list[int]) -> None:
    assert place_inside(n, options, JOB) == wanted


@pytest.mark.parametrize(
    ("n", "options"),
    [
        (11, EngineOptions()),
        (6, EngineOptions(cpus=2)),
        (4, EngineOptions(memory=3000)),
        (1, EngineOptions(cpus=5)),
    ],
)
def test_engines_for_which_a_job_has_no_room_are_refused(n: int, options: EngineOptions) -> None:
    with pytest.raises(OptionsRefused, match=r"has 10 cores, room for .* leave out inside"):
        place_inside(n, options, JOB)


def test_outside_of_a_job_engines_cannot_be_inside() -> None:
    with pytest.raises(OptionsRefused, match="doesn't run in a job"):
        place_inside(1, EngineOptions(), {})


def test_a_step_of_the_notebooks_job_ends_with_the_controller_and_the_job_does_not() -> None:
    words = step_argv("7", "ipengines-1", [2, 1], ["engine"], ControllerAddress("10.0.0.7", 1, liveness=2))
    assert words[:2] == ["env", "FLATIRONS_ENGINES=2,1"]
    assert {"--jobid=7", "--overlap", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1"} <= set(words)
    assert "kill $$" in words[4]
    assert "scancel" not in words[4]


def test_options_of_a_separate_job_are_refused_inside_the_notebooks_job() -> None:
    with pytest.raises(OptionsRefused, match=r"partition: .* Leave this out"):
        refuse_job_options(EngineOptions(partition="shas", inside=True))
