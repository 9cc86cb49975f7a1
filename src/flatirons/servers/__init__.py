"""One notebook server from the submission of its job to its end, with or without a hub. No jupyterhub.

=============  ============================================================================================
follow         follows the job: tells progress, keeps limits, notices a requeue and the end
cancel         ends the server gracefully where possible, and returns once Slurm says that its job is gone
progress       the events of a start, each once; wakes everyone who waits for a change
messages       the sentences of a start
timing         when the parts of a start began
causes         what can be known of an end: the cause, the starter's word, who receives that
diagnosis      from what Slurm, the starter and the log say to the cause
starter_ends   the sentences for the kinds of ends that a starter names
log_patterns   the words of others in a log that are signs of a cause
end_lookup     asks accounting, and about the node, why a job ended
report         what is kept of an end for the user
=============  ============================================================================================

The two users are `spawners.run.server_run`, for a hub, and `notebook.run`.
"""
