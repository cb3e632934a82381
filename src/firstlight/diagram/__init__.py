"""Diagrams of networks: a block for every layer, arcs for skip connections."""

from firstlight.diagram.drawing import draw

__all__ = ["draw"]
