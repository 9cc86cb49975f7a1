"""Accounts, associations and limits as input for sacctmgr; the users' passwords and groups. Pure."""

from .layout import ACCOUNTS, ASSOCIATIONS, GROUPS, QOS, RESERVATIONS, Person, Reservation, Site
from .slurmconf import CONFIGURATION


def _cluster_commands(cluster: str) -> list[str]:
    """sacctmgr's commands for the accounts and users of one cluster."""
    associations = tuple(a for a in ASSOCIATIONS if a.cluster == cluster)
    below = {each.name: each.parent for each in ACCOUNTS if each.cluster == cluster}
    accounts = sorted({a.account for a in associations} - set(below))
    where = f"cluster={cluster}"
    words = f"{where} description=virtual organization=flatirons"
    commands = [f"add account {','.join(accounts)} {words}"]
    commands += [f"add account {name} {words} parent={parent}" for name, parent in below.items()]
    known: set[str] = set()
    for a in associations:
        words = ["add user", a.user, where, f"account={a.account}"]
        words += [f"partition={a.partition}"] * bool(a.partition)
        # With a partition, a default account would add an association for that account too.
        words += [f"defaultaccount={a.account}"] * (a.user not in known)
        known.add(a.user)
        commands.append(" ".join([*words, f"qos={','.join(a.qos)} defaultqos={a.qos[0]}"]))
    return commands


def sacctmgr_input(site: Site) -> str:
    """The first input of sacctmgr, one command per line; running it twice changes nothing."""
    lines = [f"add qos {qos.name}" for qos in QOS]
    lines += [f"add cluster {cluster.name}" for cluster in site.clusters]
    for cluster in site.clusters:
        lines += _cluster_commands(cluster.name)
    return "\n".join(lines) + "\n"


def limits_input() -> str:
    """All limits, as input of sacctmgr. Accounting knows GPUs only after the controllers started."""
    lines = [f"modify qos where name={qos.name} set {' '.join(qos.limits)}" for qos in QOS]
    for each in ACCOUNTS:
        which = f"name={each.name} cluster={each.cluster}"
        lines.append(f"modify account where {which} set {' '.join(each.limits)}")
    for a in ASSOCIATIONS:
        if a.limits:
            which = f"name={a.user} cluster={a.cluster} account={a.account}"
            only = f" partition={a.partition}" if a.partition else ""
            lines.append(f"modify user where {which}{only} set {' '.join(a.limits)}")
    return "\n".join(lines) + "\n"


def reservation_commands(site: Site) -> list[list[str]]:
    """The commands that create the reservations, each on its own cluster."""
    return [_reservation_command(site, each) for each in RESERVATIONS]


def _reservation_command(site: Site, reservation: Reservation) -> list[str]:
    first = site.cluster(reservation.cluster).nodes[0]
    return [
        "env", f"SLURM_CONF={CONFIGURATION}/{reservation.cluster}/slurm.conf",
        "scontrol", "create", "reservation", f"ReservationName={reservation.name}", "StartTime=now",
        "Duration=30-00:00:00", *reservation.admits, f"Nodes={first.name}", f"CoreCnt={reservation.cores}",
    ]  # fmt: skip


def group_lines() -> str:
    """The lines for /etc/group."""
    return "".join(f"{group.name}:x:{group.gid}:{','.join(group.members)}\n" for group in GROUPS)


def password_lines(people: tuple[Person, ...]) -> str:
    """The input of chpasswd(8): each user's password is their name. For a private network only."""
    return "".join(f"{person.name}:{person.name}\n" for person in people)


def subordinate_ids(names: list[str]) -> str:
    """The text of /etc/subuid and /etc/subgid: 65536 ids for each user, as rootless containers need."""
    return "".join(f"{name}:{1_000_000 + i * 65536}:65536\n" for i, name in enumerate(names))
