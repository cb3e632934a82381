"""The layers of the networks, each in a module beside its native kernel."""
