"""The command that writes certificates and compares them with their records."""
