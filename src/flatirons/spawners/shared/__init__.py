"""What all servers of a hub share: the registry of running servers, stored state, metrics."""
