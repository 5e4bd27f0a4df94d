"""Redis as the service uses it: connections, our keys and who holds them, what our users may touch, its refusals."""
