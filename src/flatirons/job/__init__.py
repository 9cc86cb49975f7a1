"""What is sent to the compute node: the starter (`node`), and the only writer of job scripts (`script`)."""
