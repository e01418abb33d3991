"""The form of a record: its lines as types, how they are written and read, and the files that hold them."""
