"""Training: from examples to tuned models."""
