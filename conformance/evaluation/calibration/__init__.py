"""How far correct gradients lie from the rule, and the smallest mistake that is caught."""
