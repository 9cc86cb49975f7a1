"""What is sent to the compute node: the starter (`node`), and the job scripts (`script`)."""
