"""What a node needs from the world, one Protocol each; the docstrings state the guarantees."""
