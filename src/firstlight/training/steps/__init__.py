"""How one training step computes its gradients."""
