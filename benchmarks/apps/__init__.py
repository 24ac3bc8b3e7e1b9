"""The apps that the servers run: `wsgi` and `asgi` hold the same ones by the same names; there are frameworks too."""
