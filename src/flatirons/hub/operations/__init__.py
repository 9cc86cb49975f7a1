"""What operators see of a hub: its servers, clusters, orphans, failures, and its last hours. No Slurm query.

=============  ============================================================================================
overview       everything together, for the page and as JSON
rows           the table of servers: which of them, in which order, which part of it
charts         small drawings of the last hours, as paths of SVG
=============  ============================================================================================
"""
