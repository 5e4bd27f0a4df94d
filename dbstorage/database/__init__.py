"""PostgreSQL: its address, the engine, the tables and the shape they are found in, errors, migrations."""
