"""One run of a server: its stored state, its job followed, how it is cancelled, how it ends."""
