"""All knowledge of Slurm.

Pure, without I/O:

================  =========================================================================================
model             states and jobs as values; JobSpec is what a job asks for
cluster_model     partitions, nodes, reservations and a cluster's configuration as values
accounting        associations, accounts and QOS as values
argv              command lines; an option of sbatch that JobSpec has no attribute for is in its `extra`
spelling, sizes   by which options a cluster takes cores, memory and GPUs, and how much a job asks for by them
parse             the output of squeue, sacct and sbatch
parse_cluster     the output of scontrol and sacctmgr
records           how that output is split into records and values
hostlist          lists of nodes as Slurm writes them: c[1-3]
explain           reasons, ends and refusals in plain words
command_errors    which error the failure of a command means
identity          which job is the one that we submitted, and how to find one whose id was lost
facts             a snapshot of what a cluster offers
rights, bounds    what one user may combine on a cluster, and how much one job may ask for
alternatives      changes to a job that may let it start sooner
================  =========================================================================================

With I/O:

================  =========================================================================================
client            runs Slurm's commands through a runner; one client for each cluster
watcher           one query for all jobs of a cluster, and news for everyone who follows a job
subscription      what the watcher knows of a followed job, and the news that a follower gets
polling           how often the watcher asks Slurm
cluster_cache     the newest facts of a cluster and the associations of its users, shared by all who look
estimate          when a job would start
================  =========================================================================================
"""
