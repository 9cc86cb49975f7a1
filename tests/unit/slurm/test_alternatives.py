"""Alternatives that may start sooner and that the user may ask for."""

from __future__ import annotations

from dataclasses import replace

from flatirons.slurm.alternatives import find_alternatives
from flatirons.slurm.model import JobSpec
from tests.unit.slurm.test_rights import FACTS, NODES, rights

SPEC = JobSpec("jupyter", partition="shas", account="ucb-knl", qos="normal", cpus=4, runtime_minutes=720)


def labels(spec: JobSpec, facts: object = FACTS) -> list[str]:
    return [each.label for each in find_alternatives(spec, rights(facts))]  # type: ignore[arg-type]


def test_shorter_jobs_come_first_and_none_is_longer() -> None:
    assert labels(SPEC)[:2] == ["Ask for 4 hours", "Ask for 2 hours"]
    assert not [label for label in labels(replace(SPEC, runtime_minutes=30)) if "hour" in label]
    assert labels(replace(SPEC, runtime_minutes=0))[0] == "Ask for 30 minutes"


def test_another_partition_is_offered_only_if_it_has_room_and_the_job_fits() -> None:
    assert not [label for label in labels(SPEC) if "partition" in label]
    working = replace(FACTS, nodes=(*NODES[:2], replace(NODES[2], state="IDLE")))
    found = [each for each in find_alternatives(SPEC, rights(working)) if "partition" in each.options]
    assert [each.options for each in found] == [{"partition": "sknl", "account": "ucb-knl", "qos": "normal"}]
    assert found[0].spec.partition == "sknl"
    general = [
        each
        for each in find_alternatives(replace(SPEC, account="general"), rights(working))
        if "partition" in each.options
    ]
    assert general[0].options["account"] == "ucb-knl"
    too_long = replace(SPEC, qos="long", runtime_minutes=3 * 1440)
    assert "Use the partition sknl" not in labels(too_long, working)


def test_only_what_was_asked_for_is_reduced() -> None:
    big = replace(SPEC, runtime_minutes=30, gpus=2, gpu_type="v100", nodes=2, memory_mib=8192)
    found = {each.label: each.options for each in find_alternatives(big, rights())}
    assert found == {
        "Ask for 1 GPU": {"gpus": "v100:1"},
        "Ask for 1 node": {"nodes": "1"},
        "Ask for 2 cores": {"cpus": "2"},
        "Ask for 4 GB of memory": {"memory": "4096M"},
    }
    assert find_alternatives(replace(SPEC, cpus=1, runtime_minutes=30), rights()) == []
