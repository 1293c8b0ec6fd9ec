"""The HTTP face: an ASGI application, and the server classes that run it best."""
