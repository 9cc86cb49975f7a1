"""JupyterHub's side of a server: options become a JobSpec, a job becomes a URL, and its end an explanation.

Begin with `slurm.py`, the spawner that JupyterHub holds: its traits, and what JupyterHub calls. Who reads on
needs two paths; the modules of each are in the order in which they are met.

From choices to a job, for any spawner and for Slurm:

==============  =========================================================================================
options         a form on any spawner, through JupyterHub's hooks: posted, linked or by REST; the gate
options_form    OptionsFormSpawner: the same by configuration only
presets         choices with a name: the site's, and each user's own
slurm_form      the standard Slurm form, and the JobSpec that its options make
slurm_rules     what each field of it offers, by what is chosen before it and by what Slurm told
slurm_facts     what those rules look at: every cluster as last seen, for one user
site_rules      how what a site says of a field narrows the field's own rules
own_fields      the site's own fields, and what becomes of their values in a job
forecast        when a job with these options would start, and what would let it start sooner
==============  =========================================================================================

From a job to a server, and to its end:

==============  =========================================================================================
attempt         what is stored of one spawn, so that a restarted hub finds it again; pure
run             one run of a server: its submission, its job followed, what its starter calls
origin          where the job runs, and that its starter calls from there
teller          turns what becomes known of the job into the story of its start
waiting         what is said of a job that waits: why, at which place, until when; pure
story           the events of a start, as JupyterHub's progress shows them; errors as JupyterHub shows them
timing          when the parts of a start began
resumption      what an earlier hub process began: a start, gone on with; a server that doesn't answer
cancellation    how a server is ended from the hub: in peace if it can be
outcome         how a run ends: collects who says what of it; makes error, report and exit status
diagnosis       every cause of an end, found from what Slurm, the starter and the log say; pure
remedy          what would have helped, as far as the form would take it
report          what is kept of an ended run for its user
aftermath       has JupyterHub notice that a server ended, and clean up after it
==============  =========================================================================================

What all servers of a hub share:

==============  =========================================================================================
desk            a client and a watcher for each cluster; who a starter belongs to; jobs that nobody knows
ledger          stores what becomes known of many servers at once in one transaction
metrics         what Prometheus is told
reference       makes the reference of SlurmSpawner from its traits
==============  =========================================================================================

Imports go from `slurm` by `resumption` and `run` to the rest, never back: where a module below must know of a
run, it says in a Protocol what it needs (`attempt.Followed`, `desk.Expected`, `aftermath.Shown`,
`origin.Placed`).
"""
