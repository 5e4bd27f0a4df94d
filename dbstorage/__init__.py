"""DBStorage stores a trading platform's closed orders and users, and answers history queries."""

__version__ = "0.1.0"
