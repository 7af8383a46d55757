"""What the library claims about each system, tried again: one experiment a file, run by `tokenloom evidence`."""
