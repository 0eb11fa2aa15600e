"""Scripts that print a table, and named figures as a JSON object in the last line."""
