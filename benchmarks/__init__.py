"""Plain scripts: a table for people, and one JSON object of named figures as the last line."""
