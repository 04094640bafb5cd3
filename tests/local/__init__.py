"""The local backend: a real receiver, a real file, real programs."""
