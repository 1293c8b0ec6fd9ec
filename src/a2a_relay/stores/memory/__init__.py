"""Everything in the process: for development, for tests, and for runtimes without a disk."""
