"""The quantities of a layer as products, and their comparison with what a framework gave."""
