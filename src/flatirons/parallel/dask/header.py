"""The log files of a worker's job, in the lines #SBATCH that dask_jobqueue writes.

It writes the paths as they are, and sbatch would split them at blanks, remove quotes and backslashes, and
replace %. Pure.
"""

from __future__ import annotations

from flatirons.job.script import quote
from flatirons.slurm import argv

OPTIONS = {"#SBATCH -o ": "1", "#SBATCH -e ": "2"}
"""The beginning of each line with a log file, and the descriptor that the file is for."""
JOB_ID = "%J"


def quote_log_files(header: str, directory: str) -> str:
    """The header with the same log files below `directory`, written as sbatch must read them.

    Where sbatch can't (see argv.output_file), the job opens them itself, in lines after the header. Raises
    ValueError for a path with a control character.
    """
    if not directory:
        return header
    lines, later = [], []
    for line in header.split("\n"):
        option = line[: len("#SBATCH -o ")]
        if option not in OPTIONS or not line.startswith(f"{option}{directory}/"):
            lines.append(line)
            continue
        before, _, after = line.removeprefix(option).rpartition(JOB_ID)
        if literal := argv.output_file(before):
            lines.append(f"{option}{argv.directive(literal + JOB_ID + after)}")
        else:
            lines.append(f"{option}/dev/null")
            later.append(f'exec {OPTIONS[option]}>{quote([before])}"$SLURM_JOB_ID"{after}')
    return "\n".join([*lines, *later])
