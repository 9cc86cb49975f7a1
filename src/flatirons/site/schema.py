"""The sections of site.toml. The texts below the fields are its reference manual."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flatirons.site.form_settings import FormSection, MemoryText, RuntimeText
from flatirons.site.value_types import (
    AbsolutePath,
    Account,
    BindText,
    Count,
    DottedName,
    Duration,
    HostName,
    Line,
    Name,
    NamedServers,
    Origin,
    OriginWithPort,
    PortRange,
    UrlPrefix,
    Word,
    lasting,
)


class Section(BaseModel):
    """A section of the file: no key that isn't here, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class HubSection(Section):
    """The hub process: where it listens, what it keeps, as whom it talks to Slurm."""

    address: OriginWithPort
    """URL by which compute nodes and the proxy reach the hub, such as `http://hub.cluster.example.org:8081`.
    Not the one that people type: that is `proxy.public`."""

    listen: OriginWithPort = ""
    """URL on which the hub listens when that isn't `address`, such as `http://0.0.0.0:8081`. Left out: it
    listens on the interface that `address` names, and on no other."""

    base_url: UrlPrefix = "/"
    """Path under which everything is served, for a hub that shares a host name: `/jupyter/`."""

    account: Account = "jupyterhub"
    """System account that the hub runs as. `flatirons render` writes it into sudo rules and systemd units."""

    state_dir: AbsolutePath = "/var/lib/flatirons"
    """Directory for the database and the secrets, on a disk of this machine, of the hub's account, mode 0700.
    Made when it isn't there."""

    database: Line = ""
    """SQLAlchemy URL of the database. Left out: a SQLite file in `state_dir` that writes ahead; while the
    hub runs copy it with `sqlite3 FILE '.backup COPY'`."""

    run_as: Literal["sudo", "root", "ssh", "self"] = "sudo"
    """How the hub runs sbatch, scancel and squeue as a user. `sudo`: by sudo rules for exactly these
    (`flatirons render sudoers`). `root`: the hub is root and drops to the user. `ssh`: on the log-in node
    `ssh_host`, where the sudo rules hold. `self`: all jobs run as the hub's own account (for trying things
    out)."""

    ssh_host: Account = ""
    """Log-in node for `run_as = "ssh"`; keys and options stand in the account's own ssh configuration."""

    named_servers: NamedServers = 4
    """How many servers with a name of their own a user may have besides the default one: a number; `true` for
    any number; `false` or 0 for none."""

    internal_tls: bool = False
    """Whether hub, proxy and notebook servers talk by TLS among themselves, each with a certificate that the
    hub makes; a server's names its very node. `hub.address` and `proxy.api` are https then. Nodes must reach
    the proxy by `proxy.public_url`, or else by the hub's host name and the port of `proxy.public`: a job asks
    there for its certificate."""

    extra_config: AbsolutePath = ""
    """A `jupyterhub_config.py` that is read last, for what this file has no key for; it may use `c` and
    `site`."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much the hub says."""

    @model_validator(mode="after")
    def _ssh_has_a_host(self) -> Self:
        if (self.run_as == "ssh") != bool(self.ssh_host):
            raise ValueError('ssh_host and run_as = "ssh" go together: give both or neither')
        return self


class ProxySection(Section):
    """The proxy that people's browsers talk to. It runs apart, so that notebooks go on when the hub
    restarts."""

    public: OriginWithPort = "http://127.0.0.1:8000"
    """URL on which the proxy listens: `http://127.0.0.1:8000` behind nginx, `http://0.0.0.0:8000` without."""

    public_url: Origin = ""
    """URL that people type, such as `https://jupyter.example.org`, where that isn't `public`."""

    api: OriginWithPort = "http://127.0.0.1:8001"
    """URL on which the proxy takes the hub's orders. Nobody else needs to reach it."""

    run: Literal["apart", "hub"] = "apart"
    """Who starts the proxy. `apart`: a service of its own (`flatirons proxy`). `hub`: the hub, and it ends
    with it."""

    command: Annotated[list[Word], Field(min_length=1)] = ["configurable-http-proxy"]
    """The proxy's program, and its first arguments."""


class LoginSection(Section):
    """Who may come in, and how they prove who they are."""

    authenticator: DottedName = "pam"
    """`pam`: accounts and passwords of this machine. Or any JupyterHub authenticator, by its registered name
    or class; its own settings then stand in `hub.extra_config`."""

    pam_service: Name = "login"
    """Name of the file in /etc/pam.d that says how passwords are checked; `sshd` for the rules of ssh."""

    allow_all: bool | None = None
    """Whether everybody who can log in may use the hub. Left out: with PAM yes, unless users or groups are
    listed below; with another authenticator no."""

    allowed_users: list[Account] = []
    """Users who may use the hub."""

    allowed_groups: list[Account] = []
    """Unix groups (with PAM) whose members may use the hub."""

    blocked_users: list[Account] = []
    """Users who may not, whatever else is said."""

    admin_users: list[Account] = []
    """Users who may see and stop everybody's servers."""

    admin_groups: list[Account] = []
    """Unix groups (with PAM) whose members may."""

    @property
    def everybody(self) -> bool:
        """Whether everybody who can log in is let in."""
        if self.allow_all is None:
            return self.authenticator == "pam" and not (self.allowed_users or self.allowed_groups)
        return self.allow_all

    @model_validator(mode="after")
    def _groups_need_unix(self) -> Self:
        if self.authenticator != "pam" and (self.allowed_groups or self.admin_groups):
            raise ValueError('groups are Unix groups and need authenticator = "pam"')
        return self


class ClusterSection(Section):
    """A Slurm cluster."""

    title: Line = ""
    """What people see of it. Left out: its name."""

    slurm_conf: AbsolutePath = ""
    """Its slurm.conf, here and on its compute nodes, where that isn't the default one."""

    bin_dir: AbsolutePath = ""
    """Directory of its sbatch, squeue and scancel, when they aren't on the PATH of the system."""


class ContainersSection(Section):
    """What holds for the containers of all environments."""

    apptainer: Word = "apptainer"
    """The program that runs a container, a path or a name on the nodes' PATH."""

    binds: list[BindText] = []
    """Paths of the node that every container sees, as `source`, `source:target` or `source:target:ro`. With
    the munge socket and slurm.conf here, `squeue` and `sbatch` work in a notebook; accounts by SSSD need its
    pipes."""

    options: list[Word] = []
    """More options of `apptainer exec`."""


class EnvironmentSection(Section):
    """What people choose to work in: an image, or software that the nodes have."""

    title: Line = ""
    """What people see of it. Left out: its name."""

    description: Line = ""
    """A sentence on what is in it."""

    image: Line = ""
    """Path of a container image, on the nodes, or a URI (`docker://...`). Left out: no container is used."""

    cmd: list[Word] = []
    """Command that starts the notebook server. Left out: `jupyterhub-singleuser`."""

    binds: list[BindText] = []
    """Paths of the node that its containers see, besides `containers.binds`."""

    options: list[Word] = []
    """Options of `apptainer exec`, besides `containers.options`."""

    clusters: list[Name] = []
    """Clusters on which it is offered. Left out: all."""

    partitions: list[Word] = []
    """Partitions in which it is offered. Left out: all."""

    needs_gpu: bool = False
    """Whether it is offered only where there are GPUs, and then with one at least."""

    nv: bool = False
    """Whether its containers see NVIDIA's driver and GPUs."""

    prologue: str = ""
    """Shell lines that run before the server, outside the container, after `servers.prologue`: `module load
    conda`. What modules say of the node's own Python, R, Java and Spark (`PYTHONPATH`, `R_LIBS`, `JAVA_HOME`,
    `SPARK_CONF_DIR` and the like) stays out of a container; to set such a variable there, export it here with
    `APPTAINERENV_` before its name, or name it by `env` of a field of the form."""


class ServersSection(Section):
    """How notebook servers are started and stopped."""

    queue_timeout: Duration = lasting("1d")
    """How long a job may wait in the queue before it is cancelled."""

    node_timeout: Duration = lasting("5m")
    """How long a server may take from the start of its job until it answers."""

    stop_timeout: Duration = lasting("60s")
    """How long a cancelled job may take to be gone before the user is told that it isn't."""

    ports: PortRange | None = None
    """Ports that servers may listen on, for a firewall between the proxy and the nodes: `30000-31000`. Left
    out: any free one."""

    check_address: bool = True
    """Whether a job's calls to the hub must come from an address that the name of its node has on the hub's
    machine: a boot code that was stolen is of no use elsewhere then. `false` where nodes call from other
    addresses (several networks, NAT between them and the hub): the hub's log says which, of each call that it
    refuses."""

    python: Word = "python3"
    """The nodes' Python, 3.6 or newer, that runs the starter (outside the container)."""

    prologue: str = ""
    """Shell lines that run on the node before every server."""

    default_url: Line = "/lab"
    """Where a server opens."""


class NotebookSection(Section):
    """`flatirons notebook`, by which people start a server on a log-in node, without the hub."""

    login_node: HostName | None = None
    """Name by which people's own machines reach the log-in nodes with ssh, such as `login.example.org`. Left
    out: the name of the machine that the command runs on."""


class ParallelSection(Section):
    """What engines that are started from a notebook are given when their user says nothing.

    What is left out is taken from the notebook's own job (partition, account, QOS), or decided by Slurm.
    """

    partition: Line = ""
    """Slurm partition."""

    account: Line = ""
    """Slurm account."""

    qos: Line = ""
    """Slurm QOS."""

    reservation: Line = ""
    """Slurm reservation."""

    runtime: RuntimeText | None = None
    """How long they may run: `2:00:00` (hours), `90m`, `1d`."""

    nodes: Count = 0
    """Number of nodes that they are spread over; 0: as many as it takes."""

    engines_per_node: Count = 0
    """The most engines on one node; 0: as many as fit."""

    cpus: Count = 0
    """Cores for each engine; 0: one."""

    memory: MemoryText | None = None
    """Memory for each engine: `2G`."""

    def settings(self) -> dict[str, Any]:
        """What was said, as `$FLATIRONS_PARALLEL` tells it to flatirons.parallel."""
        return {key: value for key, value in self.model_dump().items() if value}


class PresetSection(Section):
    """Choices to begin with, as a card above the form. Who can't take them doesn't see it."""

    title: Line = ""
    """What stands on the card. Left out: its name."""

    description: Line = ""
    """A line below the title."""

    options: Annotated[dict[Name, str | int | float | bool], Field(min_length=1)]
    """The options that it sets, as they are typed in the form: `{ cpus = 8, memory = "64G" }`. Others go
    back to their defaults if some preset sets them, and else stay as the user has them."""


class Site(Section):
    """Everything that the operator says."""

    hub: HubSection
    proxy: ProxySection = ProxySection()
    login: LoginSection = LoginSection()
    clusters: Annotated[dict[Name, ClusterSection], Field(min_length=1)]
    containers: ContainersSection = ContainersSection()
    environments: Annotated[dict[Name, EnvironmentSection], Field(min_length=1)]
    servers: ServersSection = ServersSection()
    notebook: NotebookSection = NotebookSection()
    parallel: ParallelSection = ParallelSection()
    form: FormSection = FormSection()
    presets: dict[Name, PresetSection] = {}

    def environment_settings(self) -> dict[str, dict[str, Any]]:
        """The environments as the catalogue's `Environment.from_dict` takes them, with what all have."""
        return {name: self._settings(environment) for name, environment in self.environments.items()}

    def _settings(self, environment: EnvironmentSection) -> dict[str, Any]:
        own = environment.model_dump()
        if not own["image"]:
            return {**own, "kind": "none", "binds": [], "options": [], "nv": False}
        common = self.containers
        return {
            **own,
            "binds": [*common.binds, *environment.binds],
            "options": [*common.options, *environment.options],
            "apptainer": common.apptainer,
        }
