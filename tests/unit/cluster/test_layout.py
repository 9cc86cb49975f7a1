"""The site and what is rendered from it."""

import re
from itertools import pairwise

import pytest

from cluster.accounts import (
    limits_input,
    password_lines,
    reservation_commands,
    sacctmgr_input,
    subordinate_ids,
)
from cluster.daemons import daemon_plans, once_names
from cluster.layout import ASSOCIATIONS, PEOPLE, RESERVATIONS, make_site
from cluster.node import hosts
from cluster.slurmconf import configuration_files, gpu_devices, gres_conf, slurm_conf


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 50, 240])
def test_any_number_of_nodes_gives_partitions_of_real_nodes_and_both_types_of_gpu(count: int) -> None:
    summit = make_site(count).cluster("summit")
    names = [node.name for node in summit.nodes]
    assert len(names) == len(set(names)) == count
    assert {name for partition in summit.partitions for name in partition.nodes} == set(names)
    assert all(partition.nodes for partition in summit.partitions)
    assert {kind for node in summit.nodes for kind, _ in node.gpus} == {"v100", "a100"}
    assert len({node.address for node in make_site(count).nodes}) == count + 3


def test_eight_tasks_on_two_nodes_fit_into_the_default_partition() -> None:
    summit = make_site().cluster("summit")
    [default] = [partition for partition in summit.partitions if partition.is_default]
    assert len(default.nodes) >= 2
    assert sum(node.cpus for node in summit.nodes if node.name in default.nodes) >= 8


def test_interface_names_are_as_short_as_linux_requires() -> None:
    assert max(len(f"v-{node.name}") for node in make_site(240).nodes) <= 15


def test_each_cluster_has_its_own_ports_and_state_directory() -> None:
    site = make_site()
    texts = [slurm_conf(site, cluster, has_cgroups=True) for cluster in site.clusters]
    for key in ("ClusterName", "SlurmctldPort", "SlurmdPort", "StateSaveLocation"):
        values = [re.search(rf"^{key}=(.+)$", text, re.MULTILINE) for text in texts]
        assert len({value[1] for value in values if value}) == 2, key


@pytest.mark.parametrize("has_cgroups", [True, False])
def test_every_line_of_slurm_conf_is_of_key_and_value(has_cgroups: bool) -> None:
    site = make_site()
    for cluster in site.clusters:
        for line in slurm_conf(site, cluster, has_cgroups).splitlines():
            assert re.match(r"\w+=\S", line), line


def test_a_node_with_two_types_of_gpu_gives_each_device_to_one() -> None:
    text = gres_conf(make_site(1).cluster("summit"))
    assert "Type=v100 File=/dev/gpu[0-1]" in text
    assert "Type=a100 File=/dev/gpu[2-3]" in text
    assert gpu_devices(1, 4) == "/dev/gpu4"


@pytest.mark.parametrize(
    ("release", "plugin"), [((22, 5), "cgroup/v1"), ((24, 11), "disabled"), ((26, 5), "disabled")]
)
def test_no_release_of_slurm_needs_cgroups(release: tuple[int, int], plugin: str) -> None:
    site = make_site()
    files = configuration_files(site, site.clusters[0], release)
    assert files["cgroup.conf"] == f"CgroupPlugin={plugin}\n"


def test_cgroup_conf_names_what_is_enforced() -> None:
    site = make_site()
    files = configuration_files(site, site.clusters[0], (24, 11), ["RAMSpace", "Cores"])
    assert files["cgroup.conf"] == "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\nConstrainCores=yes\n"
    assert "proctrack/cgroup" in files["slurm.conf"]


def test_dave_has_a_password_but_no_association() -> None:
    assert "dave:dave\n" in password_lines(PEOPLE)
    assert "dave" not in sacctmgr_input(make_site())
    assert "dave" not in {association.user for association in ASSOCIATIONS}


def test_accounts_and_qos_are_added_before_the_users_who_need_them() -> None:
    lines = sacctmgr_input(make_site()).splitlines()
    for i, line in enumerate(lines):
        if line.startswith("add user"):
            cluster, account = re.findall(r"cluster=(\S+) account=(\S+)", line)[0]
            before = [
                each for each in lines[:i] if each.startswith("add account") and f"cluster={cluster}" in each
            ]
            assert any(account in re.split(r"[ ,]", each) for each in before)
            assert all(f"add qos {qos}" in lines[:i] for qos in re.findall(r" qos=(\S+)", line)[0].split(","))


def test_no_two_users_share_subordinate_ids() -> None:
    lines = subordinate_ids(["root", "alice", "bob"]).splitlines()
    starts = [int(line.split(":")[1]) for line in lines]
    assert [line.split(":")[0] for line in lines] == ["root", "alice", "bob"]
    assert all(later - earlier >= 65536 for earlier, later in pairwise(starts))


def test_every_node_knows_every_other() -> None:
    site = make_site(5)
    text = hosts(site)
    assert all(f"{node.address} {node.name}\n" in text for node in site.nodes)


def test_the_reservation_leaves_room_for_others() -> None:
    site = make_site(1)
    commands = reservation_commands(site)
    first = [cluster.nodes[0].name for cluster in site.clusters]
    for command, name in zip(commands, first, strict=True):
        assert f"Nodes={name}" in command
        assert "CoreCnt=2" in command


def test_limits_apply_to_things_that_were_added() -> None:
    added = sacctmgr_input(make_site())
    for line in limits_input().splitlines():
        kind, name, rest = re.findall(r"modify (\w+) where name=(\S+) (.*)", line)[0]
        where = rest.split("set ")[0].split()
        assert " ".join(["add", kind, name, *where]) in added


def test_a_partition_that_needs_a_reservation_has_one() -> None:
    site = make_site()
    needing = {
        (cluster.name, partition.name)
        for cluster in site.clusters
        for partition in cluster.partitions
        if "ReqResv=YES" in partition.settings
    }
    there = {(each.cluster, each.admits[-1].removeprefix("PartitionName=")) for each in RESERVATIONS}
    assert needing
    assert needing <= there


def test_a_command_that_another_needs_runs_on_the_same_node() -> None:
    site = make_site()
    for node in site.nodes:
        names = once_names(site, node)
        for plan in daemon_plans(site, node):
            assert {need.removeprefix("once:") for need in plan["needs"] if need.startswith("once:")} <= set(
                names
            )
