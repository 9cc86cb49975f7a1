"""One notebook server from submission to end, with or without a hub. No jupyterhub."""
