"""URLs of Redis and of the broker: as people write them, checked, and as the clients want them."""
