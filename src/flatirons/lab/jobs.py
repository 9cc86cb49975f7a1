"""GET jobs: the user's queue. Its body is schema/jobs.json."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tornado.web import authenticated

from flatirons.lab.handlers import PanelHandler
from flatirons.slurm import explain
from flatirons.slurm.model import Job


class JobsHandler(PanelHandler):
    """GET jobs: the user's jobs."""

    @authenticated
    async def get(self) -> None:
        """Answers `{"has_slurm": false, "jobs": []}` on a machine without Slurm."""
        if not self.slurm.is_there:
            self.finish({"has_slurm": False, "jobs": []})
            return
        jobs = await self.slurm.jobs()
        self.finish(
            {"has_slurm": True, "jobs": [as_row(job, self.slurm.client.cluster.name) for job in jobs]}
        )


def as_row(job: Job, cluster: str) -> dict[str, Any]:
    """One job as schema/jobs.json has it."""
    said = explain.reason(job.reason) if job.state.is_waiting else None
    return {
        "id": job.id,
        "name": job.name,
        "state": job.state.value,
        "reason": f"{said.sentence} {said.advice}".strip() if said else "",
        "cluster": cluster,
        "partition": job.partition,
        "nodes": job.nodes,
        "submitted_at": _seconds(job.submit),
        "start_at": _seconds(job.start),
        "end_at": _seconds(job.end),
        "limit_minutes": job.runtime_limit_minutes,
    }


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


routes = [("jobs", JobsHandler)]
