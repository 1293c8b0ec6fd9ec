"""The faces of the relay: HTTP now; each only translates and calls the node."""
