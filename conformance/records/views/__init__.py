"""What is made from a record, for people and for programs."""
