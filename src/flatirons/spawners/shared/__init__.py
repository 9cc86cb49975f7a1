"""What all servers of a hub share: the registry, the search for orphans, stored states, metrics."""
