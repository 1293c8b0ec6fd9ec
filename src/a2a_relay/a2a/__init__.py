"""The language of clients, without I/O: what an A2A request, answer, event and card look like."""
