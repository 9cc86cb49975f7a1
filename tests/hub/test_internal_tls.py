"""Internal TLS on the virtual cluster: a server's certificate names its node, known when the job runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hub.test_spawn import THIEF, code_of
from tests.person import Person
from tests.real_slurm import Slurm

pytestmark = pytest.mark.cluster


@pytest.fixture
def tls(cluster: Any) -> Iterator[None]:
    """The hub and the proxy with internal TLS; afterwards without it again."""
    file = cluster.demo.etc / "site.toml"
    plain = file.read_text()
    secure = plain.replace('"http://hub:', '"https://hub:').replace('api = "http:', 'api = "https:')
    restart(cluster, file, secure.replace("[hub]\n", "[hub]\ninternal_tls = true\n"))
    yield
    restart(cluster, file, plain)


def restart(cluster: Any, file: Any, site: str) -> None:
    cluster.stop_hub()
    cluster.kill_proxy()
    file.write_text(site)
    cluster.start_proxy()
    cluster.start_hub()


def test_a_server_has_a_certificate_for_its_node_and_the_proxy_checks_it(cluster: Any, tls: None) -> None:
    carol = Person(cluster.hub_url, "carol").log_in()
    try:
        carol.start(cluster="summit", account="csdms", partition="shas", environment="python")
        carol.wait_ready()
        assert carol.ask_server("api/status").status_code == 200
        route = re.findall(r"to proxy /user/carol/ => https://(shas\d+):(\d+)", cluster.hub_log.read_text())[
            -1
        ]
        shown = certificate(cluster, *route).split()
        assert shown[:4] == ["X509v3", "Subject", "Alternative", "Name:"]
        assert re.fullmatch(rf"DNS:[0-9a-f]{{32}}\.server\.internal, DNS:{route[0]}", " ".join(shown[4:]))
        carol.stop()
        left = cluster.exec(route[0], ["find", "/tmp", "-name", "flatirons-tls-*"]).stdout
        assert left == "", "the key goes with the job"
    finally:
        carol.http.close()


def test_a_public_name_in_the_browser_is_no_obstacle(cluster: Any, tls: None) -> None:
    """The proxy compared certificates with the Host header: behind a web server nothing was reached."""
    carol = Person(cluster.hub_url, "carol").log_in()
    try:
        carol.start(cluster="summit", account="csdms", partition="shas", environment="python")
        carol.wait_ready()
        answer = carol.http.get("/user/carol/api", headers={"Host": "jupyter.example.org"})
        assert answer.status_code == 200 and "version" in answer.json()
        carol.stop()
    finally:
        carol.http.close()


def certificate(cluster: Any, host: str, port: str) -> str:
    """The certificate that the server shows to clients."""
    show = "openssl x509 -noout -ext subjectAltName"
    ask = f"openssl s_client -connect {host}:{port} </dev/null 2>/dev/null | {show}"
    return str(cluster.exec("hub", ["sh", "-c", ask]).stdout)


def test_through_the_proxy_a_stolen_code_is_useless_on_another_node(cluster: Any, tls: None) -> None:
    carol, slurm = Person(cluster.hub_url, "carol").log_in(), Slurm(cluster)
    try:
        carol.start(cluster="summit", account="csdms", partition="shas", environment="python")
        carol.wait_ready()
        [(job, _, _)] = slurm.jobs("carol")
        node = slurm.ask("squeue", "-h", "-j", str(job), "-o", "%B")
        code, url = code_of(slurm, job, "carol"), "http://hub:8000/hub/api/flatirons/boot"
        argv = ["python3", "-c", THIEF, url, str(job), code]
        other = "shas0102" if node == "shas0101" else "shas0101"
        for pretended in ([], [node]):
            said = cluster.exec(other, [*argv, *pretended], user="bob").stdout
            assert said.startswith("403 ") and "doesn't come from its job's node" in said
        said = cluster.exec(node, argv, user="carol").stdout
        assert said.startswith("403 ") and "not any more" in said
        carol.stop()
    finally:
        carol.http.close()


def test_a_start_that_a_restarted_hub_resumed_keeps_its_scheme(cluster: Any, tls: None) -> None:
    carol = Person(cluster.hub_url, "carol").log_in()
    try:
        carol.start(cluster="summit", account="csdms", partition="shas", environment="python")
        cluster.kill_hub()
        cluster.start_hub()
        carol.wait_ready()
        assert carol.ask_server("api/status").status_code == 200
        carol.stop()
    finally:
        carol.http.close()
