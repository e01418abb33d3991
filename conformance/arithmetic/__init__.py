"""How a framework computes its products: measured by probes, through its ordinary programs."""
