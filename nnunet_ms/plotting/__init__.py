"""The look of every figure, and figures that more than one room draws."""
