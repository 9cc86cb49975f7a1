"""What is sent to the compute node: the starter, and the only writer of job scripts."""
