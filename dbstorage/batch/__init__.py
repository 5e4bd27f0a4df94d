"""A batch in a pool process: its turn, its transactions, what PostgreSQL refuses of it, acknowledging and answering."""
