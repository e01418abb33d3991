"""The link between the suite and the process of an adapter: JSON-RPC, one message a line, and plain data alone."""
