"""What is read: a model, or outputs of one -> Readings of the target and of its shadow models."""
