"""What talks to a relay: calls, the directory, the doctor; as lean as the connector."""
