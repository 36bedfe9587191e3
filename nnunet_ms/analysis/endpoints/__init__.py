"""A trial's endpoints, one module per question."""
