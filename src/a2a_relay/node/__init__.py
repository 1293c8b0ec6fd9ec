"""One running relay. `RelayNode` is the only object that fronts talk to."""
