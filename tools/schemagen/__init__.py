"""The parts of tools/schemagen.py, in reading order: schema, expressions, structs, files, vectors."""
