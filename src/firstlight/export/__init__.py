"""A run becomes something to share: weights for a hub, a bundle for the app, a Space."""
