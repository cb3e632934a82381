"""Diagrams of networks: a block for every layer, arcs for skip connections."""

from firstlight.diagram.drawing import draw_network

__all__ = ["draw_network"]
