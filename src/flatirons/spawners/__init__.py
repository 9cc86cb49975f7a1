"""JupyterHub's side of a server: options become a JobSpec, a job becomes a URL, and its end an explanation.

Begin with `slurm.py`, the spawner that JupyterHub holds: it has what JupyterHub calls.

=======================  ==================================================================================
slurm                    SlurmSpawner: a notebook server is a Slurm job
site_traits              the traits of SlurmSpawner that the operator sets
options_form             OptionsFormSpawner: a form on any spawner, by configuration only
other_spawners           settings of batchspawner and others: what they are called here
trait_types              traits that take times, amounts and numbers as people write them
reference                makes the reference of SlurmSpawner from its traits
=======================  ==================================================================================

`form`, from choices to a job:

=======================  ==================================================================================
form.hooks               a form on any spawner, by JupyterHub's hooks; checks all options
form.requested_options   what the current request asks for, and how it is refused
form.job_options         the options as traits of SlurmSpawner; the typed options that a job is made of
form.presets             choices with a name: the site's, and each user's own
form.preset_clicks       what the buttons for presets do
form.start_estimate      when a job with these options would start, and what would let it start sooner
form.waiting_change      what would let a waiting job start sooner, and how the job is changed
form.suggested_fix       what would have helped, as far as the form would take it
=======================  ==================================================================================

`run`, from a job to a server, and to its end:

=======================  ==================================================================================
run.stored_state         what is stored of one run, so that a restarted hub finds it again; pure
run.server_run           one run of a server: submitted, followed, stopped; what its starter calls
run.owner                what a run needs from its spawner
run.departure            takes a server that ended out of the proxy, and notices that it ended
run.connection_watch     a connection to a server, whose loss is a sign of its end
run.caller_check         accepts calls only from the node that runs the job
run.job_identity         which of Slurm's jobs is a run's, and what the hub may do to it unasked
run.start_failed         the error of a failed start as JupyterHub shows it
run.server_status        what pages are told about a server, without asking Slurm
run.used_memory          what a job was seen to use of its memory
run.outcome              how a run ends: from all sources one error, one report, one exit status
=======================  ==================================================================================

`jupyterhub`, everything that depends on JupyterHub's private parts:

==========================  ==================================================================================
jupyterhub.resume           the first poll after a restart: finishes a start, waits for a silent server
jupyterhub.cleanup          tells JupyterHub that a server has ended, and cleans up after it
jupyterhub.compat           every undocumented name of JupyterHub, behind a function or a class
jupyterhub.compat_handlers  what we change in its handlers: bodies are judged before anything is stored
jupyterhub.compat_servers   all servers of a user, running or not, and how a form ends one
jupyterhub.compat_starts    the start of a server: its end, its cancellation, its options
jupyterhub.compat_tokens    API tokens for one server: made, listed, revoked
==========================  ==================================================================================

`shared`, what all servers of a hub share:

=======================  ==================================================================================
shared.registry          a client and a watcher for each cluster; the run of each boot code and key
shared.instance          which hub this is: an id in its database, for the comments of its jobs
shared.runners           how the hub runs Slurm's commands
shared.orphans           finds and cancels jobs that belong to no server
shared.state_writer      stores the states of many servers in one transaction
shared.metrics           what Prometheus reads, for each hub
shared.history           the last day, minute by minute, for operators
shared.changes           wakes the pages that show a user's servers
shared.host_names        the addresses that machines' names have, looked up once at a time and kept
shared.node_addresses    where a cluster's nodes are reached: by their names, else by what Slurm says of them
=======================  ==================================================================================

Old names, kept for configurations that import them:

=======================  ==================================================================================
options                  form.hooks
presets                  form.presets
slurm_form               flatirons.slurm_form.form
=======================  ==================================================================================

What a server is without a hub (its job followed and cancelled, what its user reads, why it ended, its report)
is in `servers`; the standard Slurm form is in `slurm_form`.

`slurm` imports `jupyterhub.resume` and `run.server_run`, and these import the rest. No module that `slurm`
needs imports `slurm`: only `form.start_estimate` and `form.waiting_change`, for the hub's handlers, and
`reference` do. A module further down that needs to know something of a run declares it in a Protocol
(`run.stored_state.Followed`, `shared.registry.Registered`, `jupyterhub.cleanup.Cleanable`,
`run.caller_check.Placed`).
"""
