"""Training steps: compute the losses and gradients of a batch."""
