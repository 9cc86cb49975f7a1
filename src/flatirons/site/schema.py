"""The sections of site.toml. The texts below the keys are its reference manual."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flatirons.site.form_settings import FormSection, MemoryText, RuntimeText
from flatirons.site.value_types import (
    AbsolutePath,
    Account,
    BindText,
    Count,
    CpuOptions,
    DottedName,
    Duration,
    GpuOptions,
    HostName,
    Line,
    ListedAccount,
    MemoryOption,
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
    """A section of the file. Unknown keys and values of other types are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class HubSection(Section):
    """The hub process: where it listens, where it stores data, as whom it calls Slurm."""

    address: OriginWithPort
    """URL by which compute nodes and the proxy reach the hub, such as `http://hub.cluster.example.org:8081`.
    Users don't type this URL; they type that of `proxy`."""

    listen: OriginWithPort = ""
    """URL on which the hub listens, if it isn't `address`, such as `http://0.0.0.0:8081`. Left out: the hub
    listens only on the interface that `address` names."""

    base_url: UrlPrefix = "/"
    """Path below which everything is served, for a hub that shares its host name: `/jupyter/`."""

    account: Account = "jupyterhub"
    """System account of the hub. `flatirons render` writes it into sudo rules and systemd units."""

    state_dir: AbsolutePath = "/var/lib/flatirons"
    """Directory for the database and the secrets, on a local disk, owned by the hub's account, mode 0700. The
    hub makes it if it doesn't exist."""

    database: Line = ""
    """SQLAlchemy URL of the database. Left out: a SQLite file in `state_dir` with a write-ahead log. To copy
    it while the hub runs, use `sqlite3 FILE '.backup COPY'`."""

    run_as: Literal["sudo", "root", "ssh", "self"] = "sudo"
    """How the hub runs sbatch, scancel and squeue as a user, and scontrol to change a waiting job. `sudo`:
    by sudo rules for exactly these (`flatirons render sudoers`). `root`: the hub is root and switches to the
    user. `ssh`: on the log-in node `ssh_host`, which has the sudo rules. `self`: the hub serves only its own
    account, for a trial. Nothing is started under uid 0, a uid below UID_MIN of /etc/login.defs, or one of
    Slurm's daemons."""

    ssh_host: Account = ""
    """Log-in node for `run_as = "ssh"`. The account's ssh configuration has the keys and options."""

    named_servers: NamedServers = 4
    """How many named servers a user may have besides the default server: a number, `true` for any number,
    `false` or 0 for none."""

    internal_tls: bool = False
    """Whether hub, proxy and notebook servers use TLS among themselves, each with a certificate that the hub
    makes. A server's certificate names its node. `hub.address` and `proxy.api` must then be https. Nodes must
    reach the proxy by `proxy.public_url`, or else by the hub's host name and the port of `proxy.public`:
    there a job asks for its certificate."""

    extra_config: AbsolutePath = ""
    """A `jupyterhub_config.py` that is read last, for settings that have no key here. It may use `c` and
    `site`."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level of messages in the hub's log."""

    @model_validator(mode="after")
    def _ssh_has_a_host(self) -> Self:
        if (self.run_as == "ssh") != bool(self.ssh_host):
            raise ValueError('ssh_host and run_as = "ssh" go together: give both or neither')
        return self


class ProxySection(Section):
    """The proxy between the users' browsers and their servers. It is a separate service, so that notebooks
    stay reachable while the hub restarts."""

    public: OriginWithPort = "http://127.0.0.1:8000"
    """URL on which the proxy listens: `http://127.0.0.1:8000` behind nginx, `http://0.0.0.0:8000` without."""

    public_url: Origin = ""
    """URL that users type, such as `https://jupyter.example.org`, if it isn't `public`."""

    api: OriginWithPort = "http://127.0.0.1:8001"
    """URL of the proxy's API, which only the hub needs to reach."""

    run: Literal["apart", "hub"] = "apart"
    """Who starts the proxy. `apart`: a separate service (`flatirons proxy`). `hub`: the hub; then the proxy
    ends with the hub."""

    command: Annotated[list[Word], Field(min_length=1)] = ["configurable-http-proxy"]
    """The proxy's program and its first arguments."""


class LoginSection(Section):
    """Who may use the hub, and how users log in."""

    authenticator: DottedName = "pam"
    """`pam`: accounts and passwords of this machine. Or any JupyterHub authenticator, by its registered name
    or class; set it up in `hub.extra_config`."""

    pam_service: Name = "login"
    """Name of the file in /etc/pam.d with the rules for passwords; `sshd` for the same rules as ssh."""

    allow_all: bool | None = None
    """Whether everybody who can log in may use the hub. Left out: yes with PAM unless users or groups are
    listed below, no with another authenticator."""

    allowed_users: list[ListedAccount] = []
    """Users who may use the hub, by the names that `getent passwd` prints: `alice`, `'DOM\\alice'`."""

    allowed_groups: list[ListedAccount] = []
    """Unix groups (with PAM) whose members may use the hub, by the names that `getent group` prints:
    `domain users`."""

    blocked_users: list[ListedAccount] = []
    """Users who may not use the hub, whatever the other keys say."""

    admin_users: list[ListedAccount] = []
    """Users who may see and stop all servers."""

    admin_groups: list[ListedAccount] = []
    """Unix groups (with PAM) whose members may see and stop all servers."""

    @property
    def everybody(self) -> bool:
        """Whether everybody who can log in may use the hub."""
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
    """The name that users see. Left out: the name in this file."""

    slurm_conf: AbsolutePath = ""
    """Path of its slurm.conf, here and on its compute nodes, if it isn't the default one."""

    bin_dir: AbsolutePath = ""
    """Directory of its sbatch, squeue and scancel, if they aren't on the system's PATH."""

    sbatch_memory: MemoryOption = ""
    """The only option of sbatch by which the cluster takes memory: `--mem`, `--mem-per-cpu`, `--mem-per-gpu`
    (and `--mem-per-cpu` for jobs without GPUs), or `none` where jobs may not ask for memory. It holds for
    servers, estimates, engines, Dask, Spark and `flatirons notebook`; users ask as before. Left out: `--mem`,
    for engines `--mem-per-cpu`, and none where Slurm's `SelectTypeParameters` don't count memory."""

    sbatch_cpus: CpuOptions = []
    """The options for the cores of each task, one or several: `--cpus-per-task`, `--cores-per-socket`,
    `--tres-per-task`. Left out: `--cpus-per-task`."""

    sbatch_gpus: GpuOptions = []
    """The options for GPUs, one or several: `--gres`, `--gpus`, `--gpus-per-node`, `--gpus-per-task`,
    `--tres-per-task`. With `--constraint` in the list, the type of the GPUs is demanded as a feature of the
    nodes; `--constraint=gpu` demands that feature for all jobs with GPUs. Left out: `--gres`."""

    sbatch_constraint: Line = ""
    """Features that the nodes of every job must have, in addition to what users choose: `haswell`. A
    `--constraint=` in `sbatch_gpus` takes its place for jobs with GPUs."""


class ContainersSection(Section):
    """Settings for the containers of all environments."""

    apptainer: Word = "apptainer"
    """The program that runs containers: a path, or a name on the nodes' PATH."""

    binds: list[BindText] = []
    """Paths of the node that every container sees, as `source`, `source:target` or `source:target:ro`. With
    the munge socket and slurm.conf, `squeue` and `sbatch` work in a notebook. Accounts from SSSD need the
    directory of its pipes. A colon, a comma or a backslash in a path needs a backslash before it:
    `'/data/a\\,b'`, in single quotes, for `/data/a,b`."""

    options: list[Word] = []
    """More options of `apptainer exec`."""


class EnvironmentSection(Section):
    """What users choose to work in: an image, or software on the nodes."""

    title: Line = ""
    """The name that users see. Left out: the name in this file."""

    description: Line = ""
    """A sentence about its contents."""

    image: Line = ""
    """Path of a container image on the nodes, or a URI (`docker://...`). Left out: no container."""

    cmd: list[Word] = []
    """Command that starts the notebook server. Left out: `jupyterhub-singleuser`."""

    binds: list[BindText] = []
    """Paths of the node that its containers see in addition to `containers.binds`."""

    options: list[Word] = []
    """Options of `apptainer exec` in addition to `containers.options`."""

    clusters: list[Name] = []
    """Clusters that offer it. Left out: all."""

    partitions: list[Word] = []
    """Partitions that offer it. Left out: all."""

    needs_gpu: bool = False
    """Whether it is offered only where there are GPUs, with at least one GPU."""

    nv: bool = False
    """Whether its containers see the NVIDIA driver and GPUs."""

    prologue: str = ""
    """Shell lines that run before the server, outside the container, after `servers.prologue`: `module load
    conda`. Variables for the node's own Python, R, Java and Spark (`PYTHONPATH`, `R_LIBS`, `JAVA_HOME`,
    `SPARK_CONF_DIR` and the like) are not passed on to a container. To set one there, export it here with the
    prefix `APPTAINERENV_`, or use `env` of a field of the form."""


class ServersSection(Section):
    """How notebook servers are started and stopped."""

    queue_timeout: Duration = lasting("1d")
    """How long a job may wait in the queue before it is cancelled."""

    node_timeout: Duration = lasting("5m")
    """How long a server may take to answer after the start of its job."""

    stop_timeout: Duration = lasting("60s")
    """How long a cancelled job may take to end before the user sees a message."""

    ports: PortRange | None = None
    """Ports for servers, for a firewall between the proxy and the nodes: `30000-31000`. Left out: any free
    port."""

    check_address: bool = True
    """Whether a job's calls to the hub must come from an address of its node: one that the hub's machine
    finds for the node's name, or for its `NodeAddr` or `NodeHostName` in Slurm. Then a stolen boot code is
    useless elsewhere. Set it to `false` if nodes call from yet other addresses (NAT between them and the
    hub). The hub's log has the address of each call that it refuses."""

    python: Word = "python3"
    """The Python of the nodes, 3.6 or newer, that runs the starter outside the container."""

    prologue: str = ""
    """Shell lines that run on the node before every server."""

    default_url: Line = "/lab"
    """The page on which a server opens."""


class NotebookSection(Section):
    """`flatirons notebook`, with which users start a server from a log-in node, without the hub."""

    login_node: HostName | None = None
    """Name by which the users' own machines reach the log-in nodes with ssh, such as `login.example.org`.
    Left out: the name of the machine that runs the command."""


class ConnectSection(Section):
    """The page "Connect from elsewhere" of a running server, for editors, terminals and scripts."""

    longest_token: Duration = lasting("30d")
    """How long a token that users make there may be valid: the page offers 1, 7 and 30 days, up to this
    limit. `JupyterHub.token_expires_in_max_seconds` limits it further, and all other tokens."""

    ssh_jump: HostName | None = None
    """Log-in node that the users' own machines reach with ssh, such as `login.example.org`. The page then
    shows an ssh tunnel to the server, unless `hub.internal_tls` is set: such servers only answer the proxy.
    Leave it out if log-in nodes can't reach the servers' ports. Left out: nothing about ssh."""

    ssh_to_nodes: bool = False
    """Whether ssh from `ssh_jump` lets users on the nodes of their jobs (pam_slurm_adopt). The page then
    shows how to open a shell in the job, and the tunnel ends on the node, whose ports need not be
    reachable."""

    @model_validator(mode="after")
    def _nodes_are_behind_a_login_node(self) -> Self:
        if self.ssh_to_nodes and not self.ssh_jump:
            raise ValueError("ssh_to_nodes needs ssh_jump, the log-in node in front of the nodes")
        return self


class ParallelSection(Section):
    """Defaults for engines that users start from a notebook.

    A key that is left out has the value of the notebook's own job (partition, account, QOS), or Slurm
    decides.
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
    """How long engines may run: `2:00:00` (hours), `90m`, `1d`."""

    nodes: Count = 0
    """Number of nodes for the engines; 0 for as many as they need."""

    engines_per_node: Count = 0
    """The largest number of engines on a node; 0 for as many as fit."""

    cpus: Count = 0
    """Cores for each engine; 0 for one."""

    memory: MemoryText | None = None
    """Memory for each engine: `2G`."""

    def settings(self) -> dict[str, Any]:
        """The values that are given, as `$FLATIRONS_PARALLEL` passes them on to flatirons.parallel."""
        return {key: value for key, value in self.model_dump().items() if value}


class PresetSection(Section):
    """A card above the form that fills in choices. Users who can't have these choices don't see the card."""

    title: Line = ""
    """The title of the card. Left out: its name."""

    description: Line = ""
    """A line below the title."""

    options: Annotated[dict[Name, str | int | float | bool], Field(min_length=1)]
    """The options that it sets, as users type them in the form: `{ cpus = 8, memory = "64G" }`. Options that
    only other presets set go back to their defaults; all others stay unchanged."""


class Site(Section):
    """The whole site file."""

    hub: HubSection
    proxy: ProxySection = ProxySection()
    login: LoginSection = LoginSection()
    clusters: Annotated[dict[Name, ClusterSection], Field(min_length=1)]
    containers: ContainersSection = ContainersSection()
    environments: Annotated[dict[Name, EnvironmentSection], Field(min_length=1)]
    servers: ServersSection = ServersSection()
    notebook: NotebookSection = NotebookSection()
    connect: ConnectSection = ConnectSection()
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
