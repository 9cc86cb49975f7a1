"""Servers on the virtual cluster: real hub, real Slurm, real containers."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from html import unescape
from typing import Any

import pytest

from flatirons.hub.handlers.starter import handlers as starter_handlers
from tests.full import IS_FULL
from tests.job_scripts import starter_config
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import BLOCKED, SHAS, waiting
from tests.waiting import eventually

pytestmark = pytest.mark.cluster


def test_a_server_is_a_job_of_its_user_and_stopping_it_ends_the_job(alice: Person, slurm: Slurm) -> None:
    assert alice.start(**SHAS).status_code in (201, 202)
    alice.wait_ready()
    [(_, state, name)] = slurm.jobs("alice")
    assert (state, name) == ("RUNNING", "jupyter")
    assert alice.ask_server("api").json().keys() >= {"version"}
    alice.stop()
    assert slurm.jobs("alice") == []


def test_the_form_starts_a_server_and_progress_shows_each_step_once(alice: Person) -> None:
    answer = alice.post_form(**SHAS)
    assert answer.status_code == 302
    events = alice.events()
    assert events[-1].get("ready"), events
    messages = [event["message"] for event in events]
    assert len(messages) == len(set(messages))


def test_two_users_at_once_get_their_own_servers(alice: Person, bob: Person, slurm: Slurm) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda person: person.start(**SHAS), [alice, bob]))
        list(pool.map(lambda person: person.wait_ready(), [alice, bob]))
    assert len(slurm.jobs("alice")) == len(slurm.jobs("bob")) == 1
    assert alice.ask_server("api/status").status_code == 200
    assert "alice" not in bob.http.get("/user/alice/api/status").text


def test_a_named_server_runs_at_the_same_time_as_the_default_one(alice: Person, slurm: Slurm) -> None:
    alice.start(**SHAS)
    alice.start("second", **SHAS)
    alice.wait_ready()
    alice.wait_ready("second")
    assert sorted(name for _, _, name in slurm.jobs("alice")) == ["jupyter", "jupyter-second"]
    assert alice.ask_server("api/status", "second").status_code == 200
    alice.stop("second")
    assert [name for _, _, name in slurm.jobs("alice")] == ["jupyter"]


@pytest.mark.parametrize("server", ["", "named"])
def test_a_refused_job_shows_slurms_sentence_and_the_form_filled_in(
    alice: Person, slurm: Slurm, server: str
) -> None:
    answer = alice.post_form(server, **{**SHAS, "constraint": "nosuch", "runtime": "0:17:00"})
    assert answer.status_code == 400
    assert "Invalid feature specification" in answer.text
    assert "0:17:00" in answer.text
    assert slurm.jobs("alice") == []
    assert alice.post_form(server, **SHAS).status_code == 302


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("nodes", "0"),
        ("nodes", "two"),
        ("memory", "-1G"),
        ("runtime", "soon"),
        ("color", "red"),
        ("cpus", "99999"),
    ],
)
def test_a_bad_option_gets_its_message_by_form_url_and_rest_and_no_job(
    alice: Person, slurm: Slurm, option: str, value: str
) -> None:
    form = alice.post_form(**{**SHAS, option: value})
    link = alice.http.get(f"/hub/spawn?opt-{option}={value}")
    rest = alice.start(**{**SHAS, option: value})
    assert (form.status_code, link.status_code, rest.status_code) == (400, 200, 400)
    sentence = rest.json()["message"].removeprefix(f"{option}: ")
    assert sentence != rest.json()["message"], "the message names its option"
    for page in (form, link):
        assert sentence in unescape(alice.message_of(page, option) or page.text)
    assert slurm.jobs("alice") == []


def test_a_good_option_gets_no_message(alice: Person) -> None:
    page = alice.http.get("/hub/spawn?opt-runtime=0:20:00")
    assert "Nothing has been started" in page.text
    assert alice.message_of(page, "runtime") == ""


def test_a_missing_image_is_named(alice: Person) -> None:
    alice.start(**{**SHAS, "environment": "gone"})
    failed = alice.events()[-1]
    assert failed["failed"] and "The image /srv/images/gone.sif doesn't exist on shas010" in failed["message"]


def test_a_server_that_dies_is_reported_with_its_log_and_soon(alice: Person) -> None:
    began = time.monotonic()
    alice.start(**{**SHAS, "environment": "broken"})
    failed = alice.events()[-1]
    assert failed["failed"] and "there is no such module" in failed["message"]
    assert "<b>" not in failed["html_message"] and "&lt;b&gt;" in failed["html_message"]
    assert time.monotonic() - began < 10


def test_a_pending_server_says_why_and_can_be_cancelled(alice: Person, slurm: Slurm, full_sknl: int) -> None:
    alice.start("waiting", **BLOCKED)
    [job] = [number for number, _, name in eventually(lambda: waiting(slurm)) if name == "jupyter-waiting"]
    with closing(alice.progress("waiting")) as events:
        assert any("Waiting in the queue" in event["message"] for event in events)
    alice.rest("DELETE", alice.path("waiting"))
    eventually(lambda: job not in [number for number, _, _ in slurm.jobs("alice")])


def test_a_hub_killed_and_restarted_finds_running_and_pending_servers(
    cluster: Any, alice: Person, bob: Person, slurm: Slurm, full_sknl: int
) -> None:
    bob.start(**SHAS)
    bob.wait_ready()
    alice.start(**BLOCKED)
    eventually(lambda: waiting(slurm))
    jobs = slurm.jobs("alice"), slurm.jobs("bob")
    cluster.kill_hub()
    assert bob.ask_server("api/status").status_code in (200, 403), "the proxy goes on without the hub"
    cluster.start_hub()
    bob.wait_ready()
    assert (slurm.jobs("alice"), slurm.jobs("bob")) == jobs
    assert bob.ask_server("api/status").status_code == 200
    model = alice.server()
    assert model and model["pending"]
    slurm.ask("scancel", str(full_sknl))
    alice.wait_ready()
    assert alice.ask_server("api/status").status_code == 200
    alice.stop()
    assert slurm.jobs("alice") == []


@pytest.mark.skipif(not IS_FULL, reason="JupyterHub waits half a minute: --full")
def test_a_suspended_server_outlives_a_restart_of_the_hub(cluster: Any, alice: Person, slurm: Slurm) -> None:
    """When JupyterHub starts, it ends servers that don't answer for half a minute."""
    alice.start(**SHAS)
    alice.wait_ready()
    [(job, _, _)] = slurm.jobs("alice")
    node = slurm.ask("squeue", "-h", "-j", str(job), "-o", "%B")
    slurm.ask("scontrol", "suspend", str(job))
    try:
        eventually(lambda: "T" in cluster.exec(node, ["ps", "-u", "alice", "-o", "stat="]).stdout)
        cluster.kill_hub()
        cluster.start_hub()
        eventually(
            lambda: "doesn't answer, but its job has not ended: waiting" in cluster.demo.hub_log.read_text(),
            60,
        )
        assert slurm.ask("squeue", "-h", "-j", str(job), "-o", "%T") == "SUSPENDED"
    finally:
        slurm.ask("scontrol", "resume", str(job))
    alice.wait_ready()
    assert slurm.jobs("alice") == [(job, "RUNNING", "jupyter")]
    assert alice.ask_server("api/status").status_code == 200


def test_a_start_that_a_restarted_hub_resumed_can_be_cancelled_and_repeated(
    cluster: Any, alice: Person, slurm: Slurm, full_sknl: int
) -> None:
    alice.start(**BLOCKED)
    eventually(lambda: waiting(slurm))
    cluster.kill_hub()
    cluster.start_hub()
    eventually(lambda: alice.server())
    answer = alice.rest("DELETE", alice.path())
    assert answer.status_code in (202, 204), answer.text
    eventually(lambda: not waiting(slurm))
    eventually(lambda: not alice.servers().get("", {}).get("pending"))
    assert alice.start(**SHAS).status_code in (201, 202)
    alice.wait_ready()


def test_a_start_that_a_restarted_hub_resumed_reports_its_end(
    cluster: Any, alice: Person, slurm: Slurm, full_sknl: int
) -> None:
    alice.start(**BLOCKED)
    eventually(lambda: waiting(slurm))
    cluster.kill_hub()
    cluster.start_hub()
    eventually(lambda: alice.server())
    slurm.ask("scancel", str(full_sknl))
    last = alice.events()[-1]
    assert last.get("ready"), last


def test_a_job_whose_id_was_never_stored_is_found_by_its_comment(
    cluster: Any, alice: Person, slurm: Slurm, full_sknl: int
) -> None:
    """As if the hub had been killed after sbatch returned and before the id was stored."""
    alice.start(**BLOCKED)
    [(job, _, _)] = eventually(lambda: waiting(slurm))
    cluster.kill_hub()
    cluster.edit_hub_database("UPDATE spawners SET state = json_set(state, '$.job_id', 0)")
    cluster.start_hub()
    slurm.ask("scancel", str(full_sknl))
    alice.wait_ready()
    assert [number for number, _, _ in slurm.jobs("alice")] == [job]


def test_a_server_keeps_running_whatever_its_jobs_name_and_comment_become(
    cluster: Any, bob: Person, slurm: Slurm
) -> None:
    """A site's plugin may change them at the submission, a user later; the hub said "server stopped"."""
    bob.start(**SHAS)
    bob.wait_ready()
    [(job, _, _)] = slurm.jobs("bob")
    words = ("update", f"jobid={job}", "jobname=my-run", "comment=cost-centre-17")
    slurm.ask("scontrol", *words, user="bob")
    for restart in (False, True):
        if restart:
            cluster.kill_hub()
            cluster.start_hub()
        asked = slurm.ask("squeue", "-h", "-j", str(job), "-o", "%j %k %T")
        assert asked.split() == ["my-run", "cost-centre-17", "RUNNING"]
        bob.wait_ready()
    bob.stop()
    eventually(lambda: slurm.jobs("bob") == [])


def test_a_job_that_no_server_knows_is_cancelled(
    cluster: Any, alice: Person, bob: Person, slurm: Slurm
) -> None:
    bob.start(**SHAS)
    bob.wait_ready()
    [(known, _, _)] = slurm.jobs("bob")
    comment = slurm.ask("squeue", "-h", "-j", str(known), "-o", "%k")
    hub = comment.split(":")[1]
    mine = slurm.submit("alice", "-A", "ucb-general", "--comment", "flatirons:another-hub:abc:alice/")
    orphan = slurm.submit(
        "alice", "-A", "ucb-general", "--comment", f"flatirons:{hub}:0123456789abcdef:alice/"
    )
    cluster.kill_hub()
    cluster.start_hub()
    eventually(lambda: orphan not in [job for job, _, _ in slurm.jobs("alice")])
    assert mine in [job for job, _, _ in slurm.jobs("alice")]
    assert [job for job, _, _ in slurm.jobs("bob")] == [known]


THIEF = """
import json, socket, sys, urllib.error, urllib.request
url, job, code, *pretended = sys.argv[1:]
body = json.dumps({"job_id": int(job), "code": code, "key": "k" * 40}).encode()
lie = {name: socket.gethostbyname(node) for node in pretended for name in ("X-Forwarded-For", "X-Real-Ip")}
try:
    print(urllib.request.urlopen(urllib.request.Request(url, body, lie)).status)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""
"""Boots in the place of a job's starter; calls itself the node that is named, if one is."""

BOOT = "http://hub:8081/hub/api/flatirons/boot"


def code_of(slurm: Slurm, job: int, user: str = "alice") -> str:
    """The boot code, as the job's user reads it."""
    script = slurm.ask("scontrol", "write", "batch_script", str(job), "-", user=user)
    return str(starter_config(script)["code"])


def test_a_boot_code_works_once(alice: Person, slurm: Slurm, cluster: Any) -> None:
    alice.start(**SHAS)
    alice.wait_ready()
    [(job, _, _)] = slurm.jobs("alice")
    node = slurm.ask("squeue", "-h", "-j", str(job), "-o", "%B")
    again = ["python3", "-c", THIEF, BOOT, str(job), code_of(slurm, job)]
    answer = cluster.exec(node, again, user="alice").stdout
    assert answer.startswith("403 ") and "not any more" in answer


def test_a_stolen_code_is_useless_on_another_node_and_the_server_starts(
    alice: Person, slurm: Slurm, cluster: Any, full_sknl: int
) -> None:
    """Stolen while the job waits, by a user on another node, who tries it until the server is up."""
    alice.start(**BLOCKED)
    [(job, _, _)] = eventually(lambda: waiting(slurm))
    code = code_of(slurm, job)
    began = cluster.hub_log.stat().st_size
    node = slurm.ask("squeue", "-h", "-j", str(full_sknl), "-o", "%B")

    def steal(*pretended: str) -> str:
        argv = ["python3", "-c", THIEF, BOOT, str(job), code, *pretended]
        return str(cluster.exec("shas0101", argv, user="bob").stdout)

    answers = [steal()]
    slurm.ask("scancel", str(full_sknl))
    while not (alice.server() or {}).get("ready"):
        answers += [steal(), steal(node)]
        assert len(answers) < 400, alice.events()
    answers.append(steal())
    assert {answer[:3] for answer in answers} == {"403"}, answers
    assert alice.ask_server("api/status").status_code == 200
    with cluster.hub_log.open(errors="replace") as log:
        log.seek(began)
        refused = [line for line in log if "Refused boot" in line]
    assert len(refused) == len(answers)
    assert "waits in the queue" in refused[0] and "check_address = false" in refused[-1]
    assert not any(code in line for line in refused)


@pytest.mark.parametrize("path", [path for path, _ in starter_handlers])
@pytest.mark.parametrize("key", ["", "Bearer " + "k" * 40, "token " + "k" * 40])
def test_every_call_of_a_starter_refuses_strangers(alice: Person, path: str, key: str) -> None:
    bodies = {"boot": {"job_id": 1, "code": "c" * 40, "key": "k" * 40}, "ready": {"port": 80}}
    body = bodies.get(path.rpartition("/")[2], {"exit_code": 0, "signal": None, "message": "", "log": []})
    answer = alice.http.post(f"/hub{path}", json=body, headers={"Authorization": key})
    assert answer.status_code == 403
    assert alice.http.post(f"/hub{path}", json={**body, "host": "evil"}).status_code in (400, 403)


def test_no_secret_is_in_what_slurm_keeps(alice: Person, slurm: Slurm, cluster: Any) -> None:
    alice.start(**SHAS)
    alice.wait_ready()
    [(job, _, _)] = slurm.jobs("alice")
    [pid] = slurm_step_pids(cluster, job)
    token = re.search(r"JUPYTERHUB_API_TOKEN=(\w+)", environment_of(cluster, pid))
    assert token
    kept = slurm.ask("scontrol", "show", "job", "-d", str(job))
    kept += slurm.ask("scontrol", "write", "batch_script", str(job), "-")
    kept += slurm.ask("sacct", "-j", str(job), "-o", "ALL", "-P")
    assert token.group(1) not in kept
    assert token.group(1) not in cluster.exec("shas0101", ["ps", "-ef"]).stdout


def slurm_step_pids(cluster: Any, job: int) -> list[str]:
    shown = cluster.exec(
        "shas0101", ["pgrep", "-u", "alice", "-f", "bin/jupyterhub-singleuser"]
    ).stdout.split()
    assert shown, f"job {job} runs no server on shas0101"
    return shown[:1]


def environment_of(cluster: Any, pid: str) -> str:
    return str(cluster.exec("shas0101", ["cat", f"/proc/{pid}/environ"]).stdout).replace("\0", "\n")
