"""Pictures of training steps, to look at and to explore."""
