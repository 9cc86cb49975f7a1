"""One notebook server from the submission of its job to its end, with or without a hub. No jupyterhub.

=============  ============================================================================================
follow         follows the job: reports progress, enforces limits, notices a requeue and the end
cancel         ends the server gracefully where possible, and returns once Slurm says that its job is gone
progress       the events of a start, each once; wakes everyone who waits for a change
messages       the sentences of a start
timing         when the parts of a start began, and how long they took
status         what pages and programs are told about a server
end_kinds      short words for the kinds of ends
start_page     what the page of a start shows: the status, the events, times in words
causes         what is known about an end: the cause, the starter's report, who receives it
diagnosis      works out the cause from what Slurm, the starter and the log say
starter_ends   the sentences for the kinds of ends that a starter names
log_patterns   messages of other programs in a log that indicate a cause
log_lines      the end of a log as its user reads it: routine lines left out, telling ones marked
option_words   options as people say them: "2 hours", "16 GB of memory", "partition shas"
end_lookup     asks accounting why a job ended, and Slurm about its node
report         what is kept about an end, for the user
=============  ============================================================================================

The two users are `spawners.run.server_run`, for a hub, and `notebook.run`.
"""
