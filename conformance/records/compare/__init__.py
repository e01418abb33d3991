"""Two runs compared: from their records, and from nothing else."""
