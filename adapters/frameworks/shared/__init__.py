"""What adapters share: the arrays and the forward pass of all, and the tables of one framework's several adapters."""
