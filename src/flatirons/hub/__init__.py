"""The hub: its site file, its configuration, its own pages and REST calls."""
