"""Receptive fields: the input pixels on which each layer depends, by arithmetic and by measurement."""

from firstlight.receptive_field.effective import effective_size_px, gradient_energy
from firstlight.receptive_field.fields import Field, Window
from firstlight.receptive_field.trace import Layer, output_layer, trace

__all__ = ["Field", "Layer", "Window", "effective_size_px", "gradient_energy", "output_layer", "trace"]
