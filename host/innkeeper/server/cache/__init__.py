"""What is kept in memory in front of files and the database, and how it is forgotten in time."""
