"""From typed options of the form to what is asked of Slurm. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flatirons.slurm.model import JobSpec
from flatirons.slurm_form.fields import FIELDS
from flatirons.slurm_form.site_fields import sbatch_options, sbatch_word


def request(
    options: Mapping[str, Any], site_fields: Mapping[str, Mapping[str, Any]] | None = None
) -> JobSpec:
    """The job that these typed options ask for; None, False, 0 and "" leave a thing to Slurm.

    `site_fields` are the settings of the site's own fields, by name.
    """
    site_fields = site_fields or {}
    attributes: dict[str, Any] = {}
    words: list[str] = []
    for each in FIELDS:
        value = options.get(each.name)
        if not value or each.name in site_fields:
            continue
        if callable(each.job):
            attributes |= each.job(value)
        elif each.job:
            attributes[each.job] = value
        elif each.sbatch:
            words.append(sbatch_word(each.sbatch, each.field, value))
    return JobSpec("jupyter", **attributes, extra=(*words, *sbatch_options(site_fields, options)))
