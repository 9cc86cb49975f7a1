"""A hub and its proxy in the virtual cluster, started and stopped as systemd would on a real one."""

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import forward, lifecycle, node
from ..errors import ClusterError
from ..layout import HUB, HUB_ACCOUNT
from ..processes import Process, children, wait_until
from ..state import Bind, Instance, Settings
from ..tree import cache, remove
from . import environments
from .site_file import merged

SITE = "/etc/flatirons/site.toml"
FLATIRONS = "/opt/flatirons/bin/flatirons"
PATH = "PATH=/opt/flatirons/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HERE = Path(__file__).parent
EXTRA_CONFIG = '[hub]\nextra_config = "/etc/flatirons/hub_config.py"\n'
HUB_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Software:
    """What a demo runs: directories and files in the cache."""

    suite: str
    tree: Path
    hub: Path
    images: Mapping[str, Path] = field(default_factory=dict)  # by name; none where nodes have no Apptainer
    notebook: Path | None = None  # what the nodes have instead


def free_port() -> int:
    """A port on 127.0.0.1 that is free now, and that the kernel gives to nobody who doesn't ask for it.

    Those that it assigns begin at 32768 (ip_local_port_range in ip(7)).
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ClusterError("no port between 20000 and 32000 is free")


class Demo:
    """One demo, named after its instance of the virtual cluster. Making the object starts nothing."""

    def __init__(self, name: str = "flatirons", port: int = 8000, site: Path = HERE / "site.toml") -> None:
        """`port` is that of this machine; `site` is the site file that others are merged into."""
        self.instance = Instance(name)
        self.site = site
        self.own = cache() / "demo" / name
        self.etc = self.own / "etc"
        self.hub_log = self.own / "hub.log"
        self.proxy_log = self.own / "proxy.log"
        self.asked_port = port

    @property
    def url(self) -> str:
        """The hub's address for a browser on this machine."""
        published = self.instance.settings().publish if self.is_up() else []
        port = forward.parse(published[0])[1] if published else self.asked_port
        return f"http://127.0.0.1:{port}"

    @property
    def token(self) -> str:
        """The token of the service `demo`, which has all rights on users and servers."""
        return (self.etc / "token").read_text().strip()

    def is_up(self) -> bool:
        """Whether its virtual cluster runs."""
        return self.instance.marker.exists() and self.instance.is_running()

    def up(
        self, software: Software, nodes: int = 3, extra_site: str = "", binds: Sequence[Bind] = ()
    ) -> None:
        """Boots the virtual cluster and starts proxy and hub. If that fails, nothing is left running.

        `extra_site` is TOML that is merged into the site file; the nodes see `binds` besides the software.
        """
        self._write_configuration(environments.site_text(software.images), extra_site)
        shown = [*self._binds(software), *binds]
        publish = [f"127.0.0.1:{self.asked_port}={HUB}:8000"]
        wanted = Settings(software.suite, tree="", store="", summit_nodes=nodes, binds=shown, publish=publish)
        lifecycle.up(self.instance, wanted)
        try:
            self._prepare_hub()
            self.start_proxy()
            self.start_hub()
        except BaseException:
            self.down()
            raise

    def _binds(self, software: Software) -> list[Bind]:
        """What the nodes see of the software and the configuration, read-only."""
        seen = {environments.place(name): file for name, file in software.images.items()}
        seen |= {"/opt/flatirons": software.hub, "/etc/flatirons": self.etc}
        if software.notebook:
            seen[environments.ON_NODES] = software.notebook
        return [Bind(str(source), target, False) for target, source in seen.items()]

    def lacks(self, images: Sequence[str]) -> list[str]:
        """Those of the images that the running demo doesn't offer."""
        there = {bind.target for bind in self.instance.settings().binds}
        return [name for name in images if environments.place(name) not in there]

    def down(self) -> bool:
        """Stops everything, and returns whether anything ran. The logs stay."""
        was_there = lifecycle.down(self.instance)
        for file in (self._record("hub"), self._record("proxy"), self.etc / "token"):
            file.unlink(missing_ok=True)
        return was_there

    def forget(self) -> None:
        """Removes its logs and configuration. Call it when the demo is down."""
        remove(self.own)

    def enter(self, where: str, user: str) -> list[str]:
        """The words to put before a command that runs in a node as a user."""
        inner = node.recorded(self.instance, where)
        if inner is None:
            raise ClusterError(f"there is no running node {where} in {self.instance.name}")
        return node.enter_argv(inner.pid, user, node.homes_of(self.instance.settings().site)[user])

    def exec(
        self,
        where: str,
        argv: Sequence[str],
        user: str | None = None,
        stdin: str = "",
        deadline_s: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in a node, as root unless a user is named."""
        command = [*self.enter(where, user or "root"), *argv]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=deadline_s)

    def start_proxy(self) -> None:
        """Starts the proxy, which runs on when the hub restarts."""
        self._start("proxy", self.proxy_log)

    def start_hub(self) -> None:
        """Starts the hub and returns when it answers through the proxy."""
        self._start("hub", self.hub_log)
        wait_until(self._hub_answers_or_has_ended, "starting the hub", HUB_DEADLINE_S, 0.1)
        if not self.hub_runs():
            raise ClusterError(
                f"the hub ended: {node.last_line(self.hub_log)} (all of its log: {self.hub_log})"
            )

    def hub_runs(self) -> bool:
        """Whether the hub's process is alive."""
        process = self._recorded("hub")
        return process is not None and process.is_alive()

    @property
    def hub_process(self) -> Process | None:
        """The hub's own process, by its id on the host; None when it doesn't run."""
        entering = self._recorded("hub")
        inner = children(entering.pid) if entering else []
        return Process.of(inner[0]) if inner else None

    def stop_hub(self, signum: int = signal.SIGTERM) -> None:
        """Ends the hub with a signal and returns when it has ended; servers and proxy run on."""
        self._signal("hub", signum)

    def kill_hub(self) -> None:
        """Kills the hub, as a crash would."""
        self.stop_hub(signal.SIGKILL)

    def stop_proxy(self) -> None:
        """Kills the proxy, which loses its routes."""
        self._signal("proxy", signal.SIGKILL)

    def is_healthy(self) -> bool:
        """Whether the hub answers through the proxy."""
        try:
            with urllib.request.urlopen(f"{self.url}/hub/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as refused:  # by the proxy, while there is no hub
            refused.close()
            return False
        except OSError:
            return False

    def ask_hub(self, path: str) -> Any:
        """The JSON that the hub's REST API answers to a GET."""
        headers = {"Authorization": f"token {self.token}", "Accept": "application/jupyterhub-pagination+json"}
        request = urllib.request.Request(f"{self.url}/hub/api{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def _hub_answers_or_has_ended(self) -> bool:
        return not self.hub_runs() or self.is_healthy()

    def _write_configuration(self, *more: str) -> None:
        """Writes the files that the hub node sees as /etc/flatirons; `more` is merged into the site file."""
        if self.own.exists() and not self.is_up():
            remove(self.own)
        self.etc.mkdir(parents=True)
        (self.etc / "site.toml").write_text(merged(self.site.read_text(), EXTRA_CONFIG, *more))
        shutil.copyfile(HERE / "hub_config.py", self.etc / "hub_config.py")
        token = self.etc / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        token.chmod(0o400)
        os.chown(token, HUB_ACCOUNT.uid, HUB_ACCOUNT.uid)

    def _prepare_hub(self) -> None:
        """Does what the documentation tells an operator to do as root: sudo rules and the state directory."""
        steps = (
            f"{FLATIRONS} render sudoers --site {SITE} > /run/sudoers",
            "visudo -cqf /run/sudoers",
            "install -m 0440 /run/sudoers /etc/sudoers.d/flatirons",
            f"install -d -m 0700 -o {HUB_ACCOUNT.name} -g {HUB_ACCOUNT.name} /var/lib/flatirons",
            f"ln -sf {FLATIRONS} /usr/local/bin/flatirons",  # people log in here too: `flatirons notebook`
        )
        done = self.exec(HUB, ["sh", "-ec", "\n".join(steps)])
        if done.returncode:
            raise ClusterError(f"preparing the hub node: {done.stderr.strip() or done.stdout.strip()}")

    def _record(self, what: str) -> Path:
        return self.own / f"{what}.pid"

    def _recorded(self, what: str) -> Process | None:
        file = self._record(what)
        return Process.parse(file.read_text()) if file.exists() else None

    def _start(self, what: str, log: Path) -> None:
        """Runs `flatirons WHAT` in the hub node as the hub's account, and records the process."""
        known = self._recorded(what)
        if known and known.is_alive():
            raise ClusterError(f"the {what} is running already")
        argv = [*self.enter(HUB, HUB_ACCOUNT.name), PATH, FLATIRONS, what, "--site", SITE]
        with log.open("ab") as output:
            entering = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        process = Process.of(entering.pid)
        if process is None:
            raise ClusterError(f"the {what} ended at once: {node.last_line(log)}")
        self._record(what).write_text(str(process))

    def _signal(self, what: str, signum: int) -> None:
        """Signals the process in the node and returns when it has ended."""
        entering = self._recorded(what)
        if entering is None or not entering.is_alive():
            raise ClusterError(f"the {what} is not running")
        inner = [Process.of(pid) for pid in children(entering.pid)]
        for process in inner:
            if process:
                process.send(signum)
        wait_until(lambda: not entering.is_alive(), f"ending the {what}", 30)
