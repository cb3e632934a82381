"""The layers that networks are made of, each beside its native kernel."""
