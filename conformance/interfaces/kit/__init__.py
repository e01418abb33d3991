"""What a framework's author starts from: an adapter with holes, its test, and a workflow."""
