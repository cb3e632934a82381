"""Everything that knows Lightning: a Recipe becomes a Run."""
