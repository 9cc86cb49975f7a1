"""Who may use what, as input for sacctmgr; the people's passwords and groups. Pure."""

from .layout import ASSOCIATIONS, QOS, RESERVATION, RESERVATION_USERS, Association, Person, Site


def _default_accounts(associations: tuple[Association, ...]) -> dict[tuple[str, str], str]:
    """(cluster, user) -> the account of their first association."""
    default: dict[tuple[str, str], str] = {}
    for association in associations:
        default.setdefault((association.cluster, association.user), association.account)
    return default


def _cluster_commands(cluster: str) -> list[str]:
    """The accounts and users of one cluster, by sacctmgr's own verbs."""
    associations = tuple(a for a in ASSOCIATIONS if a.cluster == cluster)
    default = _default_accounts(associations)
    accounts = sorted({a.account for a in associations})
    where = f"cluster={cluster}"
    commands = [f"add account {','.join(accounts)} {where} description=virtual organization=flatirons"]
    for a in associations:
        commands.append(
            f"add user {a.user} {where} account={a.account} "
            f"defaultaccount={default[cluster, a.user]} qos={','.join(a.qos)} defaultqos={a.qos[0]}"
        )
    return commands


def sacctmgr_input(site: Site) -> str:
    """Everything that sacctmgr must be told, one command a line; saying it twice changes nothing."""
    lines: list[str] = []
    for qos in QOS:
        # `normal` exists from the start, so adding it is not enough to give it limits.
        lines.append(f"add qos {qos.name}")
        lines.append(f"modify qos where name={qos.name} set {' '.join(qos.limits)}")
    lines += [f"add cluster {cluster.name}" for cluster in site.clusters]
    for cluster in site.clusters:
        lines += _cluster_commands(cluster.name)
    return "\n".join(lines) + "\n"


def reservation_command(site: Site) -> list[str]:
    """Two cores of summit's first node for those who come to the workshop."""
    summit = site.cluster("summit")
    return [
        "scontrol", "create", "reservation", f"ReservationName={RESERVATION}", "StartTime=now",
        "Duration=30-00:00:00", f"Users={','.join(RESERVATION_USERS)}", f"Nodes={summit.nodes[0].name}",
        "CoreCnt=2",
    ]  # fmt: skip


def password_lines(people: tuple[Person, ...]) -> str:
    """Input of chpasswd(8): everybody's password is their name. For a private network only."""
    return "".join(f"{person.name}:{person.name}\n" for person in people)


def subordinate_ids(names: list[str]) -> str:
    """Text of /etc/subuid and /etc/subgid: 65536 ids for each, none shared; what rootless containers need."""
    return "".join(f"{name}:{1_000_000 + i * 65536}:65536\n" for i, name in enumerate(names))
