"""The demo: a hub, its proxy and its image in the virtual cluster; also what the tests run against."""
